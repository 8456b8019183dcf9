package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// The benchmarks of a whole cluster run over real sockets through the director:
// someone1 is the owner on one backend, someone2 the reader on the other.

const benchMessages = 10_000

// benchClient sends commands and reads answers without looking at them.
type benchClient struct {
	conn net.Conn
	r    *bufio.Reader
	tag  int
}

func newBenchClient(b *testing.B, r *rig, user string) *benchClient {
	b.Helper()
	conn, err := net.Dial("tcp", r.address())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	c := &benchClient{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	if _, err := c.r.ReadSlice('\n'); err != nil {
		b.Fatal(err)
	}
	c.do(b, "LOGIN "+user+" pass")
	return c
}

// do sends a command and reads up to its tagged OK; it counts what came before.
func (c *benchClient) do(b *testing.B, command string) (bytesRead int) {
	b.Helper()
	c.tag++
	tag := fmt.Sprintf("t%d ", c.tag)
	_ = c.conn.SetDeadline(time.Now().Add(5 * time.Minute))
	if _, err := io.WriteString(c.conn, tag+command+"\r\n"); err != nil {
		b.Fatal(err)
	}
	for {
		line, err := c.r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			bytesRead += len(line)
			continue
		}
		if err != nil {
			b.Fatal(err)
		}
		bytesRead += len(line)
		if rest, ok := bytes.CutPrefix(line, []byte(tag)); ok {
			if !bytes.HasPrefix(rest, []byte("OK")) {
				b.Fatalf("%.80s: %s", command, rest)
			}
			return bytesRead
		}
	}
}

// fill puts n messages into a mailbox that it makes, and shares it.
func (c *benchClient) fill(b *testing.B, name string, n int) {
	b.Helper()
	c.do(b, "CREATE "+name)
	body := strings.Repeat("A line of a message that somebody wrote to somebody else.\r\n", 20)
	const batch = 500
	for done := 0; done < n; done += batch {
		var cmd strings.Builder
		cmd.WriteString("APPEND " + name)
		for i := done; i < min(done+batch, n); i++ {
			text := fmt.Sprintf("From: Sender %d <s%d@example.org>\r\nTo: someone1@example.org\r\nSubject: Message number %d\r\n"+
				"Date: Tue, 24 Nov 2026 10:%02d:00 +0000\r\nMessage-ID: <%d@example.org>\r\n\r\n%s", i%97, i%97, i, i%60, i, body)
			fmt.Fprintf(&cmd, " {%d+}\r\n%s", len(text), text)
		}
		c.do(b, cmd.String())
	}
	c.do(b, "SETACL "+name+" someone2 lrs")
}

// BenchmarkFetch is FETCH over 10,000 messages: by the owner, and by a reader
// whose mail is on the other backend.
func BenchmarkFetch(b *testing.B) {
	r := startRig(b, "rig")
	owner, reader := newBenchClient(b, r, "someone1"), newBenchClient(b, r, "someone2")
	owner.fill(b, "Big", benchMessages)
	owner.do(b, "SELECT Big")
	reader.do(b, "SELECT shared/someone1/Big")
	for _, items := range []string{"FLAGS", "ENVELOPE", "BODYSTRUCTURE"} {
		for _, who := range []struct {
			name   string
			client *benchClient
		}{{"own", owner}, {"shared", reader}} {
			b.Run(items+"/"+who.name, func(b *testing.B) {
				before := cpuTime()
				for b.Loop() {
					b.SetBytes(int64(who.client.do(b, "FETCH 1:* ("+items+")")))
				}
				b.ReportMetric(float64((cpuTime()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
				b.ReportMetric(float64(benchMessages)*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
	for _, who := range []struct {
		name, box string
		client    *benchClient
	}{{"own", "Big", owner}, {"shared", "shared/someone1/Big", reader}} {
		b.Run("SELECT/"+who.name, func(b *testing.B) {
			for b.Loop() {
				who.client.do(b, "SELECT "+who.box)
			}
		})
		b.Run("SEARCH_TEXT/"+who.name, func(b *testing.B) {
			for b.Loop() {
				who.client.do(b, `SEARCH TEXT "number 9999"`)
			}
		})
		for name, command := range map[string]string{
			"SORT": "SORT (SUBJECT REVERSE DATE) UTF-8 ALL", "THREAD": "THREAD REFERENCES UTF-8 ALL",
		} {
			b.Run(name+"/"+who.name, func(b *testing.B) {
				for b.Loop() {
					who.client.do(b, command)
				}
			})
		}
		b.Run("NOOP/"+who.name, func(b *testing.B) {
			for b.Loop() {
				who.client.do(b, "NOOP")
			}
		})
	}
}

// BenchmarkLogin is a login through the director, and the logout.
func BenchmarkLogin(b *testing.B) {
	r := startRig(b, "rig")
	for b.Loop() {
		conn, err := net.Dial("tcp", r.address())
		if err != nil {
			b.Fatal(err)
		}
		c := &benchClient{conn: conn, r: bufio.NewReader(conn)}
		if _, err := c.r.ReadSlice('\n'); err != nil {
			b.Fatal(err)
		}
		c.do(b, "LOGIN someone1 pass")
		c.do(b, "LOGOUT")
		conn.Close()
	}
}
