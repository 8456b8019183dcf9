package imapserver

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// piece is what a client flushed at a time.
type piece struct {
	compressed []byte
	text       string
}

// zlibPieces reads what zlib made of the same commands with a kind of flush: in
// each line the compressed bytes and the text.
func zlibPieces(t testing.TB, flush string) []piece {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", "zlib", flush+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var pieces []piece
	for line := range strings.Lines(string(file)) {
		compressed, quoted, _ := strings.Cut(strings.TrimSpace(line), " ")
		raw, err := hex.DecodeString(compressed)
		if err != nil {
			t.Fatal(err)
		}
		text, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, piece{raw, text})
	}
	return pieces
}

var zlibFlushes = []string{"none", "partial", "sync", "full", "block"}

// Everything that was flushed arrives before more is sent, and no flush that
// ends a block keeps the tables from being handed back. Z_BLOCK may hold back some
// bits of the end.
func TestInflateFlushes(t *testing.T) {
	for _, flush := range zlibFlushes {
		for _, size := range []int{1, 3, 1 << 20} {
			t.Run(flush+"/"+strconv.Itoa(size), func(t *testing.T) {
				client, server := net.Pipe()
				_ = client.Close()
				s := &stream{conn: server, sock: server, readTimeout: testTimeout, flush: func() error { return nil }}
				d := &deflated{stream: s} // has what is early, and then nothing
				for _, p := range zlibPieces(t, flush) {
					var got []byte
					for chunk := range slices.Chunk(p.compressed, size) {
						d.early = chunk
						got = append(got, readAll(t, d)...)
					}
					if string(got) != p.text {
						t.Fatalf("got %q, want %q", got, p.text)
					}
					if flush != "none" && flush != "block" && d.inflater.tables != nil {
						t.Error("holds tables")
					}
				}
			})
		}
	}
}

// readAll reads what there is like a session: each line begins with a wait.
func readAll(t *testing.T, d *deflated) []byte {
	t.Helper()
	var got []byte
	for {
		room := make([]byte, 1, 100)
		if len(got) > 0 && got[len(got)-1] != '\n' {
			room = room[:cap(room)]
		}
		n, err := d.Read(room)
		got = append(got, room[:n]...)
		if errors.Is(err, io.EOF) {
			d.rest()
			return got
		}
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
	}
}

// A session with each kind of flush: each command is answered before the next.
func TestCompressFlushes(t *testing.T) {
	for _, flush := range zlibFlushes[1:] {
		t.Run(flush, func(t *testing.T) {
			mail := mailboxmem.New("ann")
			conn, r := pipe(t, Config{Authenticator: authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
				return &Login{User: "ann", Account: mail.As("ann", false)}, nil
			})})
			c := squeeze(t, conn, r)
			for _, p := range zlibPieces(t, flush) {
				c.sendRaw(p.compressed)
				tag := p.text[:1]
				for line := ""; !strings.HasPrefix(line, tag+" OK "); {
					var err error
					if line, err = c.r.ReadString('\n'); err != nil {
						t.Fatalf("%s: %v", p.text, err)
					}
				}
			}
		})
	}
}

// What is no compressed text is told as such.
func TestInflateInvalid(t *testing.T) {
	for name, in := range map[string]string{
		"reserved block":         "\x06",
		"stored length":          "\x00\x01\x00\x00\x00",
		"distance before start":  "\x03\x02\x00",
		"unused length symbol":   "\x1b\x03",
		"too many literal codes": "\xfc\x00\x00",
		"nothing before repeat":  "\x04\x00\xfe\xff",
		"code without room":      "\x04\x00\x24\xe9\xff\x6d",
	} {
		t.Run(name, func(t *testing.T) {
			z := inflater{tables: new(inflateTables), bits: bits{in: []byte(in + "\x00\x00\x00\x00")}}
			if err := z.run(); !errors.Is(err, errNotDeflated) {
				t.Errorf("%v, in mode %d", err, z.mode)
			}
		})
	}
}

// FuzzInflateAny compares with compress/flate, for any bytes cut anywhere.
func FuzzInflateAny(f *testing.F) {
	for _, flush := range zlibFlushes {
		var all []byte
		for _, p := range zlibPieces(f, flush) {
			all = append(all, p.compressed...)
		}
		f.Add(all, uint8(7))
	}
	f.Add([]byte("\x05\xc0\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x04"), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		const limit = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(in)), limit))
		d := &deflated{inflater: inflater{tables: new(inflateTables)}}
		tables := d.inflater.tables
		var got []byte
		var err error
		rest := in
		for err == nil && len(got) < limit {
			if err = d.inflate(tables); tables.next < tables.end {
				got = append(got, tables.out[tables.next:tables.end]...)
				tables.next = tables.end
				continue
			}
			if len(rest) == 0 || d.inflater.mode == endOfInput {
				break
			}
			n := min(int(cut)+1, len(rest))
			d.inflater.in = append(bytes.Clone(d.inflater.in), rest[:n]...)
			rest = rest[n:]
			if cut%2 == 0 {
				d.rest()
				d.resume()
				tables = d.inflater.tables
			}
		}
		got = got[:min(len(got), limit)]
		ended := d.inflater.mode == endOfInput || len(got) == limit
		if ended != (wantErr == nil) || ended && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, ended %v, %v; want %d bytes, %v", len(got), ended, err, len(want), wantErr)
		}
	})
}
