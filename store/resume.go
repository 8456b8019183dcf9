package store

import (
	"errors"
	"io/fs"
	"syscall"
)

// resuming is the body of a message in its segment. If the segment goes away
// under a reader, as network file systems have it, the message is looked for
// again, once, and reading goes on where it was.
type resuming struct {
	content *content
	again   bool
}

// ReadAt implements io.ReaderAt. off counts from where the body begins.
func (r *resuming) ReadAt(b []byte, off int64) (int, error) {
	c := r.content
	n, err := c.reader.file.ReadAt(b, c.off+off)
	if !vanished(err) || r.again {
		return n, err
	}
	r.again = true
	at := *c.row
	c.files.forget(at.at.seg)
	moved, found := c.files.openRow(&at)
	if found != nil || moved.sum != c.sum || moved.stored != c.stored || moved.coding != c.coding {
		return n, errors.Join(err, found)
	}
	c.reader, c.off = moved.reader, moved.off
	more, err := c.reader.file.ReadAt(b[n:], c.off+off+int64(n))
	return n + more, err
}

// vanished says that an error comes from a file that was removed.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESTALE)
}
