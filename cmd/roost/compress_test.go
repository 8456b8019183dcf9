package main

import (
	"bufio"
	"compress/flate"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// COMPRESS is between the client and the backend: the director only copies.
func TestCompressThroughTheDirector(t *testing.T) {
	r := startRig(t, "rig")
	r.say(t, "someone1", "CREATE Work", "APPEND Work {26+}\r\nSubject: one\r\n\r\nthe text\r\n", "SETACL Work someone2 lr")
	conn, err := net.Dial("tcp", r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	plain := bufio.NewReader(conn)
	fmt.Fprintf(conn, "a LOGIN someone2 %s\r\nb COMPRESS DEFLATE\r\n", r.password("someone2"))
	readTo(t, plain, "b OK")
	w, err := flate.NewWriter(conn, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(flate.NewReader(plain))
	fmt.Fprint(w, "c SELECT shared/someone1/Work\r\nd FETCH 1 BODY.PEEK[TEXT]\r\n")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := readTo(t, in, "d OK"); !strings.Contains(got, "the text") {
		t.Errorf("got %s", got)
	}
}

// readTo reads up to the line that begins with prefix.
func readTo(t *testing.T, r *bufio.Reader, prefix string) string {
	t.Helper()
	var all strings.Builder
	for {
		line, err := r.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			t.Fatalf("%v after %s", err, all.String())
		}
		if strings.HasPrefix(line, prefix) {
			return all.String()
		}
	}
}
