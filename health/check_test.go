package health

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
)

// TestChecks plays the backends of testdata/checks.txt.
func TestChecks(t *testing.T) {
	text, err := os.ReadFile("testdata/checks.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(text), "\n\n") {
		if i == 0 {
			continue // what the file is
		}
		name, script, _ := strings.Cut(strings.TrimSpace(part), "\n")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := strings.Split(script, "\n")
			want := strings.TrimPrefix(lines[len(lines)-1], "= ")
			got := "ok"
			if err := checkScript(t, lines[:len(lines)-1]); err != nil {
				got = err.Error()
			}
			if got != want && !(strings.HasSuffix(want, "*") && strings.HasPrefix(got, want[:len(want)-1])) {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
}

func checkScript(t *testing.T, lines []string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		follow(t, conn, lines)
	}()
	defer func() {
		_ = ln.Close()
		<-done
	}()
	m := NewMonitor(Config{Clock: cluster.BootTime{}})
	set := Settings{Timeout: time.Second, User: "probe-" + BackendVariable, Password: "secret", Write: true}
	if len(lines) == 0 || lines[len(lines)-1] != "silence" {
		set.Timeout = time.Minute // what answers may be slow where tests run side by side
	}
	return m.check(context.Background(), Target{Name: "b1", Addr: ln.Addr().String()}, set)
}

func follow(t *testing.T, conn net.Conn, lines []string) {
	in := bufio.NewReader(conn)
	for _, line := range lines {
		kind, text, _ := strings.Cut(line, ":")
		switch text = strings.TrimPrefix(text, " "); kind {
		case "S":
			if _, err := io.WriteString(conn, text+"\r\n"); err != nil {
				return
			}
		case "C":
			got, err := in.ReadString('\n')
			if got = strings.TrimRight(got, "\r\n"); err != nil || got != text {
				t.Errorf("client: %q, %v; want %q", got, err, text)
				return
			}
		case "silence":
			_, _ = io.Copy(io.Discard, in)
			return
		}
	}
}

// TestConnectionRefused: nobody listens.
func TestConnectionRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	m := NewMonitor(Config{Clock: cluster.BootTime{}})
	err = m.check(context.Background(), Target{Addr: addr}, Settings{Timeout: 10 * time.Second})
	if err == nil || !strings.HasPrefix(err.Error(), "connect: ") || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
}

// TestProxied: where a PROXY header is due, one comes first that names nobody.
func TestProxied(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	got := make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		defer conn.Close()
		header := make([]byte, 16)
		_, _ = io.ReadFull(conn, header)
		got <- string(header)
		_, _ = io.WriteString(conn, "* BYE not now\r\n")
	}()
	m := NewMonitor(Config{Clock: cluster.BootTime{}})
	_ = m.check(context.Background(), Target{Addr: ln.Addr().String(), Proxied: true}, Settings{Timeout: time.Minute})
	if header := <-got; header != "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00" {
		t.Errorf("%q", header)
	}
}
