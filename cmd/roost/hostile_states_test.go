package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// statesAbuse asks for what must not work in the state that a connection is in,
// and changes the state in one packet with what follows.
func statesAbuse(t *testing.T, s *siege) {
	const work = "shared/someone1/Work"
	for _, c := range []struct{ user, data, want, never string }{
		{"", "a LOGIN someone2 pass\r\nb SELECT " + work + "\r\nc IDLE\r\nDONE\r\nz NOOP\r\n", "z OK", ""},
		{"", "a COMPRESS DEFLATE\r\nz NOOP\r\n", "a BAD", ""},
		{"", "a UNAUTHENTICATE\r\nb ENABLE QRESYNC\r\nc NOTIFY NONE\r\nd GETQUOTA x\r\nz NOOP\r\n", "d BAD", "ENABLED"},
		{"", "a AUTHENTICATE PLAIN\r\nb LOGIN someone2 pass\r\n*\r\nz NOOP\r\n", "a BAD", "b OK"},
		{"someone2", "a COMPRESS DEFLATE\r\nb NOOP\r\nc NOOP\r\n", "a OK", "b OK"},
		{"someone2", "a COMPRESS DEFLATE x\r\nb COMPRESS NONE\r\nz NOOP\r\n", "z OK", "a OK"},
		{"someone2", "a UNAUTHENTICATE\r\nz SELECT " + work + "\r\n", "z OK", "a OK"},
		{"someone2", "a STARTTLS\r\nb LOGIN someone1 pass\r\nc AUTHENTICATE PLAIN x\r\nz NOOP\r\n", "z OK", "b OK"},
		{"someone2", "a SELECT " + work + "\r\nb ENABLE QRESYNC UTF8=ACCEPT IMAP4rev2\r\nz FETCH 1 (FLAGS)\r\n", "MODSEQ", ""},
		{"someone2", "a SELECT " + work + " (QRESYNC (1 1))\r\nz NOOP\r\n", "a BAD", ""},
		{"someone2", "a NOTIFY SET (SELECTED (MessageNew (BODY[])))\r\nz NOOP\r\n", "a BAD", ""},
		{"someone2", "a APPEND " + work + " X-ROOST-EMAILID M1 {3+}\r\nx\r\n\r\nz NOOP\r\n", "a BAD", "APPENDUID"},
		{"someone2", "a APPEND INBOX X-ROOST-EMAILID M1 {3+}\r\nx\r\n\r\nz NOOP\r\n", "a BAD", "APPENDUID"},
	} {
		out := s.talk(t, s.address(), c.user, c.data)
		if !strings.Contains(out, c.want) || c.never != "" && strings.Contains(out, c.never) {
			t.Errorf("%q: want %q and never %q: %q", c.data, c.want, c.never, tail([]byte(out), 500))
		}
	}
}

// modifiers are the arguments of extensions at their ends and beyond, on a
// mailbox at the other backend.
func modifiers(t *testing.T, s *siege) {
	c := s.select2(t, "Work")
	c.command("ENABLE QRESYNC")
	c.expect("OK")
	deep := strings.Repeat("1.", 200) + "1"
	for _, row := range []struct{ command, want string }{
		{"EXAMINE shared/someone1/Work (QRESYNC (1 9223372036854775807 1:4294967295 (1:4294967295 1:4294967295)))", "OK"},
		{"EXAMINE shared/someone1/Work (QRESYNC (1 9223372036854775808))", "BAD"},
		{"EXAMINE shared/someone1/Work (QRESYNC (1 1 1:*))", "BAD"},
		{"SELECT shared/someone1/Work (QRESYNC (4294967295 1 1:3 (1,3 1)))", "BAD"},
		{"SELECT shared/someone1/Work (CONDSTORE QRESYNC (1 1) QRESYNC (1 1))", "BAD"},
		{"SELECT shared/someone1/Work (QRESYNC (4294967295 1 1:3 (1 1)))", "OK"},
		{"UID FETCH 1:4294967295 FLAGS (CHANGEDSINCE 9223372036854775807 VANISHED)", "OK"},
		{"UID FETCH 4294967295:1 FLAGS (CHANGEDSINCE 0 VANISHED)", "OK"},
		{"UID FETCH 1 FLAGS (CHANGEDSINCE 18446744073709551615)", "BAD"},
		{"UID FETCH 1 FLAGS (CHANGEDSINCE -1)", "BAD"},
		{"UID FETCH 1 FLAGS (VANISHED)", "BAD"},
		{"UID FETCH 1:* UID (PARTIAL 1:4294967295)", "OK"},
		{"UID FETCH 1:* UID (PARTIAL -4294967295:-1)", "OK"},
		{"UID FETCH 1:* UID (PARTIAL 0:1)", "BAD"},
		{"UID FETCH 1:* UID (PARTIAL -1:1)", "BAD"},
		{"SEARCH RETURN (PARTIAL 4294967295:4294967295 SAVE) ALL", "OK"},
		{"UID SORT RETURN (PARTIAL -1:-4294967295 MIN MAX SAVE) (REVERSE REVERSE DATE) UTF-8 ALL", "BAD"},
		{"UID SORT RETURN (PARTIAL -1:-4294967295 MIN MAX SAVE) (REVERSE DATE) UTF-8 ALL", "OK"},
		{"UID STORE $ +FLAGS.SILENT ()", "OK"},
		{"UID STORE 1:4294967295 (UNCHANGEDSINCE 0) +FLAGS (\\Flagged)", "OK [MODIFIED"},
		{"STORE 1 (UNCHANGEDSINCE 0 UNCHANGEDSINCE 1) +FLAGS (x)", "BAD"},
		{"FETCH 1 (BINARY.PEEK[" + deep + "])", "BAD"},
		{"FETCH 1 (BINARY.PEEK[4294967295]<4294967295.4294967295> BINARY.SIZE[2147483647])", ""},
		{"FETCH 1 (BINARY[HEADER])", "BAD"},
		{"FETCH 1 (PREVIEW (LAZY LAZY) SAVEDATE EMAILID THREADID)", "OK"},
		{"SEARCH OLDER 4294967295 YOUNGER 4294967295", "OK"},
		{"SEARCH OLDER 0", "BAD"},
		{"SEARCH MODSEQ 9223372036854775807", "OK"},
		{"SEARCH EMAILID " + strings.Repeat("x", 256), "BAD"},
		{"THREAD REFS UTF-8 MODSEQ 1", "OK"},
		{"THREAD NOSUCH UTF-8 ALL", "BAD"},
		{"NOTIFY SET (SUBTREE (" + strings.TrimSpace(strings.Repeat("shared ", 1001)) + ") (MessageNew MessageExpunge))", ""},
		{"NOTIFY SET" + strings.Repeat(" (SUBTREE shared (MessageNew MessageExpunge))", 101), "BAD"},
		{"NOTIFY NONE", "OK"},
		{"NOOP", "OK"},
	} {
		c.command(row.command)
		if tagged := c.answer[len(c.answer)-1]; !strings.HasPrefix(tagged, row.want) {
			t.Errorf("%.100s: got %.150q, want %q", row.command, tagged, row.want)
		}
	}
}

// revokedInPipelines has rights go while FETCHes are read ahead and sent on: from
// then on all are refused, whatever else is in the same packet.
func revokedInPipelines(t *testing.T, s *siege) {
	const batch = 200
	owner := s.login(t, "someone1")
	for _, plain := range []bool{true, false} {
		conn, err := net.Dial("tcp", s.address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		fetches := func(name string) string {
			var b strings.Builder
			for i := range batch {
				fmt.Fprintf(&b, "%s%d UID FETCH 1:%d (FLAGS BODY.PEEK[])\r\n", name, i, 1+i%3)
			}
			return b.String()
		}
		send := func(text string) {
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		await := func(text string) {
			t.Helper()
			for piece := make([]byte, 4096); !bytes.Contains(out.Bytes(), []byte(text)); {
				n, err := conn.Read(piece)
				out.Write(piece[:n])
				if err != nil {
					t.Fatalf("%v before %q: %q", err, text, tail(out.Bytes(), 300))
				}
			}
		}
		send("in LOGIN someone2 pass\r\nb SELECT shared/someone1/Playground\r\n" + fetches("c"))
		await(fmt.Sprintf("c%d OK", batch-1))
		owner.command("DELETEACL Playground someone2")
		owner.expect("OK")
		out.Reset()
		if plain {
			send("n NOOP\r\n")
		}
		send(fetches("d") + "e UID SEARCH BODY body\r\nf UID SORT (SIZE) UTF-8 ALL\r\ng UID FETCH 1 (PREVIEW EMAILID BINARY.SIZE[1])\r\nh GETQUOTAROOT shared/someone1/Playground\r\ni NOTIFY SET STATUS (SUBTREE shared (MessageNew MessageExpunge MailboxName))\r\nz LOGOUT\r\n")
		await("z OK")
		for _, leak := range []string{"BODY[] {", "SEARCH 1", "SORT 1", "PREVIEW (", "EMAILID (", "h OK", "shared/someone1/Playground ("} {
			if bytes.Contains(out.Bytes(), []byte(leak)) {
				t.Errorf("%q after the rights were gone: %q", leak, tail(out.Bytes(), 1000))
			}
		}
		if n := bytes.Count(out.Bytes(), []byte(" NO [NOPERM]")) + bytes.Count(out.Bytes(), []byte(" NO [NONEXISTENT]")); n < batch {
			t.Errorf("%d of %d were refused", n, batch)
		}
		owner.command("SETACL Playground someone2 lrswite")
		owner.expect("OK")
	}
}
