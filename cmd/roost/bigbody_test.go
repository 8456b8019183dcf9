package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A message of 100 MB costs each process under 1 MB of memory, whichever way it
// goes: the owner's backend, the director and the reader's backend.
func TestBigMessagesStream(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("moves gigabytes, and measures memory")
	}
	const limit = 1 << 20
	r := startProcessRig(t, "rig", freePort(t), "")
	owner, reader := dialBig(t, r, "someone1"), dialBig(t, r, "someone2")
	owner.do("CREATE Work")
	owner.appendBig("Work")
	owner.do("SETACL Work someone2 lrswite")
	reader.do("SELECT shared/someone1/Work")
	for _, op := range []struct {
		name string
		run  func()
	}{
		{"FETCH BODY[]", func() { reader.do("UID FETCH 1 BODY.PEEK[]") }},
		{"FETCH BINARY[1]", func() { reader.do("UID FETCH 1 BINARY.PEEK[1]") }},
		{"COPY from the other owner", func() { reader.do("UID COPY 1 INBOX") }},
		{"APPEND to the other owner", func() { reader.appendBig("shared/someone1/Work") }},
		{"COPY to the other owner", func() {
			reader.do("SELECT INBOX")
			reader.do("UID COPY 1 shared/someone1/Work")
			reader.do("SELECT shared/someone1/Work")
		}},
	} {
		op.run() // takes the buffers that go on being used
		before := map[string]int{}
		for name, p := range r.running {
			before[name] = resetPeak(t, p.cmd.Process.Pid)
		}
		op.run()
		for name, p := range r.running {
			more := rss(t, p.cmd.Process.Pid, "VmHWM") - before[name]
			t.Logf("%s: %s takes %d kB", op.name, name, more>>10)
			if more > limit {
				t.Errorf("%s: %s takes %d kB", op.name, name, more>>10)
			}
		}
	}
}

// resetPeak forgets a process's peak of memory, and tells what it has now.
func resetPeak(t *testing.T, pid int) int {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		t.Skip("needs to reset the peak of memory: ", err)
	}
	return rss(t, pid, "VmRSS")
}

func rss(t *testing.T, pid int, what string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == what+":" {
			kb, _ := strconv.Atoi(fields[1])
			return kb << 10
		}
	}
	t.Fatalf("no %s of %d", what, pid)
	return 0
}

// bigClient holds no message either.
type bigClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dialBig(t *testing.T, r *processRig, user string) *bigClient {
	t.Helper()
	conn, err := net.Dial("tcp", r.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &bigClient{t, conn, bufio.NewReader(conn)}
	if _, err := c.r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	c.do("LOGIN " + user + " " + r.password(user))
	return c
}

func (c *bigClient) do(command string) {
	c.t.Helper()
	c.send("a " + command + "\r\n")
	c.answer(command)
}

func (c *bigClient) send(text string) {
	c.t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads up to the OK, and drops literals unseen.
func (c *bigClient) answer(command string) {
	c.t.Helper()
	for {
		_ = c.conn.SetDeadline(time.Now().Add(patience))
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%s: %v", command, err)
		}
		if strings.HasPrefix(line, "a ") {
			if !strings.HasPrefix(line, "a OK") {
				c.t.Fatalf("%s: %s", command, line)
			}
			return
		}
		if open := strings.LastIndexByte(line, '{'); open >= 0 && strings.HasSuffix(line, "}\r\n") {
			n, _ := strconv.ParseInt(line[open+1:len(line)-3], 10, 64)
			if _, err := io.CopyN(io.Discard, c.r, n); err != nil {
				c.t.Fatalf("%s: %v", command, err)
			}
		}
	}
}

// appendBig appends 100 MB of base64.
func (c *bigClient) appendBig(name string) {
	c.t.Helper()
	const size = 100_000_000
	head := "Subject: big\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	block := strings.Repeat(strings.Repeat("AbCd", 19)+"\r\n", 800)
	c.send(fmt.Sprintf("a APPEND %s {%d+}\r\n%s", name, size, head))
	for left := size - len(head); left > 0; left -= len(block) {
		c.send(block[:min(left, len(block))])
	}
	c.send("\r\n")
	c.answer("APPEND " + name)
}
