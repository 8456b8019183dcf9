package imapclient_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imapclient"
)

// play connects to a server that follows a script: lines behind "S: " are
// sent, lines behind "C: " have to come from the client. After the last line
// the server closes the connection. "S~ " sends a line without its end, and
// "silence" reads until the client leaves.
func play(t *testing.T, cfg imapclient.Config, script string) *imapclient.Conn {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		follow(t, server, script)
	}()
	t.Cleanup(func() {
		_ = client.Close()
		<-done
	})
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	c, err := imapclient.New(context.Background(), client, cfg)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func follow(t *testing.T, server net.Conn, script string) {
	in := bufio.NewReader(server)
	for line := range strings.SplitSeq(strings.TrimSpace(script), "\n") {
		line = strings.TrimSpace(line)
		line = strings.ReplaceAll(line, `\r\n`, "\r\n")
		kind, text, _ := strings.Cut(line, ": ")
		if partial, is := strings.CutPrefix(line, "S~ "); is {
			kind, text = "S~", partial
		}
		switch kind {
		case "S":
			text += "\r\n"
			fallthrough
		case "S~":
			if _, err := io.WriteString(server, text); err != nil {
				return
			}
		case "silence":
			_, _ = io.Copy(io.Discard, in)
		case "C":
			got, err := in.ReadString('\n')
			if got = strings.TrimRight(got, "\r\n"); got != text {
				t.Errorf("client sent %q (%v), want %q", got, err, text)
				return
			}
		}
	}
}
