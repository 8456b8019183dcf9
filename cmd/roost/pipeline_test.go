package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A client that sends many UID FETCHes at once waits for few round trips between
// the backends, not for one each, and gets its answers in order.
func TestPipelinedFetchesShareRoundTrips(t *testing.T) {
	const messages = 50
	r := startRig(t, "rig")
	commands := []string{"CREATE Work"}
	for n := range messages {
		text := fmt.Sprintf("Subject: %d\r\n\r\ntext of number %d\r\n", n+1, n+1)
		commands = append(commands, fmt.Sprintf("APPEND Work {%d+}\r\n%s", len(text), text))
	}
	r.say(t, "someone1", append(commands, "SETACL Work someone2 lrs")...)
	far := newFarLink(t, r.address(), 5*time.Millisecond)
	host, port, _ := net.SplitHostPort(far.addr)
	r.edit(t, "be2", func(conf string) string {
		conf = strings.ReplaceAll(conf, "imapc_host = 127.0.1.1\n", "imapc_host = "+host+"\n")
		return strings.ReplaceAll(conf, "imapc_port = "+strconv.Itoa(r.port)+"\n", "imapc_port = "+port+"\n")
	})
	c := dialIMAP(t, r.address())
	defer c.close()
	c.command("LOGIN someone2 " + r.password("someone2"))
	c.expect("OK")
	c.command("SELECT shared/someone1/Work")
	c.expect("OK")

	for _, items := range []string{"(FLAGS BODY.PEEK[])", "FLAGS", "BODY[]"} {
		var all strings.Builder
		for n := range messages {
			fmt.Fprintf(&all, "p%d UID FETCH %d %s\r\n", n+1, n+1, items)
		}
		before, begun := far.turns(), time.Now()
		c.send(all.String())
		for n := range messages {
			for {
				line := c.readLine()
				if strings.HasPrefix(line, fmt.Sprintf("p%d OK", n+1)) {
					break
				}
				if strings.HasPrefix(line, "p") || strings.HasPrefix(line, "* ") && !strings.HasPrefix(line, fmt.Sprintf("* %d FETCH (UID %d ", n+1, n+1)) {
					t.Fatalf("%s: %q while command %d is to be answered", items, line, n+1)
				}
			}
		}
		turns := far.turns() - before
		t.Logf("%s: %d round trips, %v", items, turns, time.Since(begun).Round(time.Millisecond))
		if turns > 5 {
			t.Errorf("%s: %d commands took %d round trips", items, messages, turns)
		}
	}
}

// Commands that are wrong, or others, are answered in their turn too.
func TestPipelinedFetchesAmongOthers(t *testing.T) {
	r := startRig(t, "rig")
	r.say(t, "someone1", "CREATE Work", "APPEND Work {11+}\r\na: b\r\n\r\nc\r\n", "SETACL Work someone2 lrstwe")
	c := dialIMAP(t, r.address())
	defer c.close()
	c.command("LOGIN someone2 " + r.password("someone2"))
	c.command("SELECT shared/someone1/Work")
	c.expect("OK")
	c.send("a UID FETCH 1 FLAGS\r\nb UID FETCH 1 (NONSENSE)\r\nc UID FETCH 1:* FLAGS\r\nd uid fetch 1 (FLAGS BODY[])\r\n" +
		"e UID FETCH 7 FLAGS\r\nf UID STORE 1 +FLAGS (\\Deleted)\r\ng UID FETCH 1 FLAGS\r\nh UID EXPUNGE 1\r\ni UID FETCH 1 FLAGS\r\nj UID FETCH 1 FLAGS\r\nk NOOP\r\n")
	var tags []string
	for len(tags) < 11 {
		if line := c.readLine(); len(line) > 1 && line[1] == ' ' && line[0] >= 'a' && line[0] <= 'z' {
			tags = append(tags, strings.Join(strings.Fields(line)[:2], " "))
		}
	}
	if got := strings.Join(tags, ", "); got != "a OK, b BAD, c OK, d OK, e OK, f OK, g OK, h OK, i OK, j OK, k OK" {
		t.Errorf("got %s", got)
	}
}

// farLink is a way to another host that takes its time. It counts how often the
// near side speaks after the far side has.
type farLink struct {
	addr string

	mu    sync.Mutex // guards what follows
	near  bool       // spoke last
	count int
}

func newFarLink(t *testing.T, to string, delay time.Duration) *farLink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	f := &farLink{addr: ln.Addr().String()}
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			go f.copy(far, near, true, delay)
			go f.copy(near, far, false, delay)
		}
	}()
	return f
}

func (f *farLink) turns() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// copy passes on each piece after a delay; pieces travel at the same time.
func (f *farLink) copy(dst, src net.Conn, near bool, delay time.Duration) {
	type piece struct {
		data []byte
		due  time.Time
	}
	way := make(chan piece, 1024)
	go func() {
		defer dst.Close()
		defer src.Close()
		for p := range way {
			time.Sleep(time.Until(p.due)) // the distance, not a synchronisation
			if _, err := dst.Write(p.data); err != nil {
				break
			}
		}
		for range way {
		}
	}()
	defer close(way)
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			f.mu.Lock()
			if near && !f.near {
				f.count++
			}
			f.near = near
			f.mu.Unlock()
			way <- piece{append([]byte(nil), buf[:n]...), time.Now().Add(delay)}
		}
		if err != nil {
			return
		}
	}
}
