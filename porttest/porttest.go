// Package porttest finds ports for servers that a test starts.
package porttest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// The kernel gives clients' connections ports from 32768 on: one of these stays free
// until its server listens, and while it is restarted. No process gives one twice; that
// another process's test takes it meanwhile is one in many thousand.
const (
	first = 10_000
	count = 20_000
)

var (
	begin = rand.Uint32N(count)
	given atomic.Uint32
)

// Free is a port at which nobody listens on any of the hosts. It is given once in the
// process. Many goroutines may ask.
func Free(t testing.TB, hosts ...string) int {
	t.Helper()
	for range 100 {
		if port := first + int((begin+given.Add(1))%count); free(port, hosts) {
			return port
		}
	}
	t.Fatalf("no port is free on %v", hosts)
	return 0
}

func free(port int, hosts []string) bool {
	for _, host := range hosts {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = ln.Close()
	}
	return true
}
