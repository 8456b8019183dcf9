package imapclient_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imapclient"
)

// FuzzFetchLine has a response that comes in one piece read as one that comes
// byte by byte: a line that is buffered whole is read in another way.
func FuzzFetchLine(f *testing.F) {
	for _, line := range []string{
		`* 1 FETCH (UID 2 ENVELOPE ("a" NIL (("b\"" NIL "c" "d")) NIL) BODYSTRUCTURE (("text" "plain") "mixed"))`,
		`* 3 FETCH (BODY ("a") UID 4)`, `* 3 FETCH (UID 4 ENVELOPE ())x`, `* 3 FETCH (UID 0)`, `* 0 FETCH (UID 1)`,
		`* 3 FETCH (ENVELOPE NIL)`, `* 3 FETCH (UID 4294967296)`, `* 3 FETCH (UID 1) `, `* 3 FETCH (UID  1)`, `* 3 fetch (uid 1 RFC822.SIZE 7)`,
		`* 3 FETCH (ENVELOPE ("a" {1}`, `* 03 FETCH (UID 05 BODY[1] "x")`, `* 3 FETCH ()`, `* 3 ETCH (ENVELOPE ("a" {1}`, `* 3 FETCH (UID 1 UID 2)`,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") || !strings.HasPrefix(line, "* ") {
			return
		}
		said := "* OK hello\r\n" + line + "\r\nR1 OK done\r\n"
		if whole, pieces := heard(t, said, len(said)), heard(t, said, 1); whole != pieces {
			t.Fatalf("at once %s\nin pieces %s", whole, pieces)
		}
	})
}

// heard is what a client makes of what a server says in pieces of n bytes.
func heard(t *testing.T, said string, n int) string {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() {
		defer server.Close() // what is missing then will not come
		asked := make(chan struct{})
		go func() {
			_, _ = bufio.NewReader(server).ReadString('\n')
			close(asked)
		}()
		for rest := said; rest != ""; {
			k := min(n, len(rest))
			_, _ = io.WriteString(server, rest[:k])
			rest = rest[k:]
		}
		<-asked
	}()
	c, err := imapclient.New(t.Context(), client, imapclient.Config{Timeout: 20 * time.Second})
	if err != nil {
		return "no greeting"
	}
	var all strings.Builder
	h := &imapclient.Handler{Fetch: func(m *imapclient.FetchData) error {
		fmt.Fprintf(&all, "%d %d %d %q %q %q\n", m.Seq, m.Has, m.UID, m.Envelope, m.Body, m.BodyStructure)
		return nil
	}}
	_, err = c.Do(t.Context(), h, atom("FETCH"))
	return fmt.Sprintf("%s%v", all.String(), err != nil)
}
