package coordetcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// tryTime bounds a look why there is no connection.
const tryTime = time.Second

// unreached adds to the error of a call why no member is connected, as connections of its
// own tell: etcd's client only knows that the time is over.
func (c *Coordinator) unreached(client *clientv3.Client, err error) error {
	if client.ActiveConnection().GetState() == connectivity.Ready {
		return err
	}
	whys := make([]string, len(c.cfg.Endpoints))
	var trying sync.WaitGroup
	for i, at := range c.cfg.Endpoints {
		trying.Go(func() {
			why := c.try(at)
			if op, is := errors.AsType[*net.OpError](why); is {
				why = op.Err // without the address
			}
			if why != nil {
				whys[i] = "; " + at + ": " + why.Error()
			}
		})
	}
	trying.Wait()
	return fmt.Errorf("%w%s", err, strings.Join(whys, ""))
}

// try connects to a member. One that connects and says nothing in time is none that is
// known to fail: a certificate is refused at once.
func (c *Coordinator) try(at string) error {
	ctx, cancel := context.WithTimeout(context.Background(), tryTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if c.cfg.TLS != nil {
		config := c.cfg.TLS.Clone()
		if host, _, err := net.SplitHostPort(at); err == nil && config.ServerName == "" {
			config.ServerName = host
		}
		config.NextProtos = []string{"h2"}
		conn = tls.Client(conn, config)
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err = conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}
