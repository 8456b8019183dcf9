package sasl

import gosasl "github.com/emersion/go-sasl"

// plainClient is the client side of PLAIN, to talk to the server side with.
type plainClient struct{ credentials Credentials }

// newPlainClient refuses credentials that the server side would refuse, so that a
// NUL cannot move the borders between them.
func newPlainClient(c Credentials) gosasl.Client { return &plainClient{c} }

func (c *plainClient) Start() (mech string, ir []byte, err error) {
	if err := c.credentials.check(); err != nil {
		return "", nil, err
	}
	return "PLAIN", []byte(c.credentials.AuthzID + "\x00" + c.credentials.AuthID + "\x00" + c.credentials.Password), nil
}

// Next answers the one empty challenge of a server that took no initial response.
func (c *plainClient) Next(challenge []byte) ([]byte, error) {
	if len(challenge) != 0 {
		return nil, gosasl.ErrUnexpectedServerChallenge
	}
	_, ir, err := c.Start()
	return ir, err
}
