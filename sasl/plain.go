package sasl

import (
	"strings"

	gosasl "github.com/emersion/go-sasl"
)

// plainServer is the server side of PLAIN, RFC 4616.
type plainServer struct {
	verify Verify
	done   bool
}

func newPlainServer(x Exchange) gosasl.Server { return &plainServer{verify: x.Verify} }

// Next answers a missing initial response (nil) with an empty challenge.
func (s *plainServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if s.done {
		return nil, false, gosasl.ErrUnexpectedClientResponse
	}
	if response == nil {
		return []byte{}, false, nil
	}
	s.done = true
	c, err := ParsePlain(response)
	if err != nil {
		return nil, false, err
	}
	return nil, true, s.verify(c)
}

// ParsePlain is what a response of PLAIN says, if it has the form. RFC 4616 section 2.
func ParsePlain(response []byte) (Credentials, error) {
	if len(response) > MaxResponse {
		return Credentials{}, malformed("too long")
	}
	parts := strings.SplitN(string(response), "\x00", 4)
	if len(parts) != 3 {
		return Credentials{}, malformed("not three parts")
	}
	c := Credentials{AuthzID: parts[0], AuthID: parts[1], Password: parts[2]}
	return c, c.check()
}
