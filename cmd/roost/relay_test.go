package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/porttest"
)

var relayRounds = flag.Int("relay.rounds", 0, "rounds of TestRelayVersusHAProxy")

// TestRelayVersusHAProxy moves the same bytes between the same client and backend
// through a director and through HAProxy in TCP mode, in turn: one thread each,
// no splice. It tells the medians and judges how fast bulk goes.
//
//	go test ./cmd/roost -run TestRelayVersusHAProxy -v -relay.rounds 11
func TestRelayVersusHAProxy(t *testing.T) {
	if *relayRounds == 0 {
		t.Skip("needs -relay.rounds")
	}
	needTool(t, "haproxy")
	sink := startRelaySink(t)
	both := []*contender{startRelayRoost(t, sink), startRelayHAProxy(t, sink)}
	for _, row := range []struct {
		name  string
		least float64 // of HAProxy's speed
		conns int
		what  relayTurn
	}{
		{"8 downloads", 0.9, 8, relayTurn{times: 1, ask: 10, answer: 128 << 20}},
		{"8 uploads", 0.9, 8, relayTurn{times: 1, ask: 128 << 20, answer: 10}},
		{"64 clients, 100 bytes for 2 kB", 0, 64, relayTurn{times: 500, ask: 100, answer: 2 << 10}},
		{"1 client, 100 bytes for 100 bytes", 0, 1, relayTurn{times: 10_000, ask: 100, answer: 100}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var speed, cpu [2][]float64
			for round := range *relayRounds + 1 {
				for i, c := range both {
					took, used := relayRound(t, c, row.conns, row.what)
					if round > 0 { // the first warms up
						speed[i] = append(speed[i], 1/took.Seconds())
						cpu[i] = append(cpu[i], used.Seconds())
					}
				}
			}
			var ratios []float64
			for i := range speed[0] {
				ratios = append(ratios, speed[0][i]/speed[1][i])
			}
			ratio := median(ratios)
			turns := float64(row.conns * row.what.times)
			megabytes := turns * float64(row.what.ask+row.what.answer) / 1e6
			t.Logf("speed %.2f of HAProxy's (%.2f to %.2f); processor time %.2f of HAProxy's: %.0f MB/s and %.0f, %.0f turns/s and %.0f",
				ratio, slices.Min(ratios), slices.Max(ratios), median(cpu[0])/median(cpu[1]),
				megabytes*median(speed[0]), megabytes*median(speed[1]), turns*median(speed[0]), turns*median(speed[1]))
			if ratio < row.least {
				t.Errorf("less than %.2f", row.least)
			}
		})
	}
}

// relayTurn is so many questions and answers, in bytes.
type relayTurn struct{ times, ask, answer int }

// relayRound has each of so many sessions take its turns, all at once.
func relayRound(t *testing.T, c *contender, conns int, what relayTurn) (took, cpu time.Duration) {
	t.Helper()
	clients := make([]*idleTalk, conns)
	for i := range clients {
		clients[i] = &idleTalk{}
		if err := clients[i].open(c.addr, "user", idleClient{}); err != nil {
			t.Fatal(err)
		}
		defer clients[i].conn.Close()
	}
	began, used := time.Now(), c.cpu()
	var all sync.WaitGroup
	errs := make([]error, conns)
	for i, client := range clients {
		all.Go(func() { errs[i] = what.ofClient(client) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(began), c.cpu() - used
}

// relayPiece is how much is written and read at a time.
const relayPiece = 64 << 10

func (r relayTurn) ofClient(c *idleTalk) error {
	if _, err := fmt.Fprintf(c.conn, "turns %d %d %d\r\n", r.times, r.ask, r.answer); err != nil {
		return err
	}
	buf := make([]byte, relayPiece)
	for range r.times {
		if err := writeZeros(c.conn, buf, r.ask); err != nil {
			return err
		}
		if err := readAway(c.conn, buf, r.answer); err != nil {
			return err
		}
	}
	return nil
}

func writeZeros(w io.Writer, buf []byte, n int) error {
	clear(buf)
	for n > 0 {
		done, err := w.Write(buf[:min(n, len(buf))])
		if n -= done; err != nil {
			return err
		}
	}
	return nil
}

func readAway(r io.Reader, buf []byte, n int) error {
	for n > 0 {
		done, err := r.Read(buf[:min(n, len(buf))])
		if n -= done; err != nil {
			return err
		}
	}
	return nil
}

// startRelaySink is a backend that lets everybody in, and then takes turns.
func startRelaySink(t *testing.T) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				relaySink(conn)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); all.Wait() })
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

func relaySink(conn net.Conn) {
	r, buf := bufio.NewReader(conn), make([]byte, relayPiece)
	for answer := "* OK [CAPABILITY IMAP4rev1] here\r\n"; ; {
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		var turn relayTurn
		if _, err := fmt.Sscanf(line, "turns %d %d %d\r\n", &turn.times, &turn.ask, &turn.answer); err == nil {
			if turn.ofSink(conn, r, buf) != nil {
				return
			}
			answer = ""
			continue
		}
		tag, rest, _ := strings.Cut(line, " ")
		if answer = tag + " OK\r\n"; strings.HasPrefix(rest, "CAPABILITY") {
			answer = "* CAPABILITY IMAP4rev1\r\n" + answer
		}
	}
}

func (r relayTurn) ofSink(conn net.Conn, br *bufio.Reader, buf []byte) error {
	for range r.times {
		early := min(r.ask, br.Buffered())
		if _, err := br.Discard(early); err != nil {
			return err
		}
		if err := readAway(conn, buf, r.ask-early); err != nil {
			return err
		}
		if err := writeZeros(conn, buf, r.answer); err != nil {
			return err
		}
	}
	return nil
}

// startRelayRoost is a director in a process of one thread for Go.
func startRelayRoost(t *testing.T, backendPort string) *contender {
	t.Helper()
	s := newIdleServer(t, "", " proxy=y host=127.0.0.1 port="+backendPort, "GOMAXPROCS=1")
	return &contender{addr: s.plain, cpu: func() time.Duration { return processTimes(t, s.cmd.Process.Pid) }}
}

func startRelayHAProxy(t *testing.T, backendPort string) *contender {
	t.Helper()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(porttest.Free(t, "127.0.0.1")))
	process := runHAProxy(t, addr, `global
  nbthread 1
  maxconn 1000
defaults
  mode tcp
  no option splice-auto
  no option splice-request
  no option splice-response
  timeout connect 10s
  timeout client 10m
  timeout server 10m
listen imap
  bind `+addr+`
  server backend 127.0.0.1:`+backendPort+"\n")
	return &contender{addr: addr, cpu: func() time.Duration { return processTimes(t, process.Pid) }}
}
