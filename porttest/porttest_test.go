package porttest

import (
	"net"
	"strconv"
	"testing"
)

func TestFree(t *testing.T) {
	port := Free(t, "127.0.0.1", "127.0.0.2")
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if free(port, []string{"127.0.0.1", "127.0.0.2"}) {
		t.Errorf("port %d is free while someone listens", port)
	}
}
