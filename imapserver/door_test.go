package imapserver

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/sasl"
)

// doorkeeper lets nobody in, and tells what it was asked.
type doorkeeper chan *Client

func (d doorkeeper) Login(_ context.Context, c *Client, _ Credentials) (*Login, error) {
	d <- c
	return nil, imap.Errorf(imap.CodeAuthenticationFailed, "No")
}

// TestDoor: on a port where nobody acts for another, the mechanism of nodes is neither shown nor
// known; and whoever decides about a login learns which port it is.
func TestDoor(t *testing.T) {
	word := "AUTHENTICATE " + sasl.DelegationName + " ="
	for _, door := range []*Door{nil, {}, {NoMasters: true}} {
		asked := make(doorkeeper, 1)
		s := New(Config{Authenticator: asked, Mechanisms: append(sasl.Mechanisms(), sasl.DelegationMechanism())})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error)
		go func() { served <- s.ServeDoor(context.Background(), ln, door) }()
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		say := func(command string) string {
			if _, err := conn.Write([]byte(command)); err != nil {
				t.Fatal(err)
			}
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			return line
		}
		shut := door != nil && door.NoMasters
		if greeting := say(""); strings.Contains(greeting, sasl.DelegationName) == shut {
			t.Errorf("%+v: %s", door, greeting)
		}
		want := "a NO [AUTHENTICATIONFAILED] Invalid"
		if shut {
			want = "a NO Unsupported"
		}
		if answer := say("a " + word + "\r\n"); !strings.HasPrefix(answer, want) {
			t.Errorf("%+v: %s", door, answer)
		}
		_ = say("b LOGIN ann secret\r\n")
		if c := <-asked; c.Door != door {
			t.Errorf("%+v is told as %+v", door, c.Door)
		}
		_ = conn.Close()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-served
	}
}
