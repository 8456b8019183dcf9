package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/roost-mail/roost/imap"
)

const (
	spoolMemory    = 1 << 20 // bytes of one APPEND that are kept in memory
	maxMessageSize = 1<<31 - 1
)

// spool is a message between client and log: in memory, or from at on in a
// nameless file of the account's directory.
type spool struct {
	mem  []byte
	file File
	at   int64
	size int64
	sum  uint32
}

// reader is the message's bytes.
func (s *spool) reader() io.ReaderAt {
	if s.file == nil {
		return bytes.NewReader(s.mem)
	}
	return io.NewSectionReader(s.file, s.at, s.size)
}

// spooler takes in the messages of one APPEND. The first spoolMemory bytes stay
// in memory, the messages after that share one file.
type spooler struct {
	disk *disk
	room int64
	file File
	end  int64
}

func newSpooler(d *disk) *spooler { return &spooler{disk: d, room: spoolMemory} }

// take reads a message of size bytes.
func (s *spooler) take(r io.Reader, size int64) (*spool, error) {
	switch {
	case size < 0:
		return nil, imap.BadCommand("Invalid message size")
	case size > maxMessageSize:
		return nil, imap.Errorf(imap.CodeTooBig, "Message is too big")
	case size <= s.room:
		s.room -= size
		return takeMemory(r, size)
	}
	if s.file == nil {
		f, err := s.disk.fs.Temp(s.disk.dir)
		if err != nil {
			return nil, notSpooled("create spool file", err)
		}
		s.file = f
	}
	return s.takeFile(r, size)
}

func takeMemory(r io.Reader, size int64) (*spool, error) {
	mem := make([]byte, size)
	if _, err := io.ReadFull(r, mem); err != nil {
		return nil, shortBody(err)
	}
	return &spool{mem: mem, size: size, sum: checksum(mem)}, nil
}

func (s *spooler) takeFile(r io.Reader, size int64) (*spool, error) {
	out := &spool{file: s.file, at: s.end, size: size}
	block := make([]byte, spoolBlock)
	for off := int64(0); off < size; {
		b := block[:min(spoolBlock, size-off)]
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, shortBody(err)
		}
		if err := writeAll(s.file, b, s.end+off); err != nil {
			return nil, notSpooled("spool message", err)
		}
		out.sum = crc32.Update(out.sum, castagnoli, b)
		off += int64(len(b))
	}
	s.end += size
	return out, nil
}

// notSpooled is the answer to a message that the disk did not take.
func notSpooled(doing string, err error) error {
	if isFull(err) {
		return errDiskFull
	}
	return unavailable(fmt.Errorf("%s: %w", doing, err))
}

func shortBody(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read message: %w", err)
}

func (s *spooler) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
