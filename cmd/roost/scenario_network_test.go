package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/roost-mail/roost/porttest"
)

// worldNetwork is how the nodes of a scenario reach each other.
type worldNetwork interface {
	// host is where the coordinator listens.
	host() string

	// place gives a node its address, with a port to listen at.
	place(t *testing.T, node string) (addr string)

	// coordinator is the address by which a node reaches the coordinator.
	coordinator(t *testing.T, node, addr string) string

	// command is a program of a node.
	command(node string, args ...string) *exec.Cmd

	// cut separates a node from another, from "coordinator" or from "all"; heal undoes
	// all cuts of a node.
	cut(node, from string) error
	heal(node string) error
}

// loopback is a network of processes on this machine. Each reaches the coordinator by
// a link of its own, and only that can be cut.
type loopback struct {
	links map[string]*cutLink
}

func newLoopback() *loopback { return &loopback{links: map[string]*cutLink{}} }

func (l *loopback) host() string { return "127.0.0.1" }

func (l *loopback) place(t *testing.T, _ string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(porttest.Free(t, "127.0.0.1")))
}

func (l *loopback) coordinator(t *testing.T, node, addr string) string {
	l.links[node] = newCutLink(t, addr)
	return l.links[node].addr
}

func (l *loopback) command(_ string, args ...string) *exec.Cmd {
	return exec.Command(args[0], args[1:]...)
}

func (l *loopback) cut(node, from string) error {
	if from != "coordinator" {
		return fmt.Errorf("processes can't be cut from %s", from)
	}
	l.links[node].cut(true)
	return nil
}

func (l *loopback) heal(node string) error {
	l.links[node].cut(false)
	return nil
}

// cutLink hands connections on to an address, until it is cut.
type cutLink struct {
	addr, to string

	mu    sync.Mutex // guards what follows
	isCut bool
	conns map[net.Conn]struct{}
}

func newCutLink(t *testing.T, to string) *cutLink {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &cutLink{addr: ln.Addr().String(), to: to, conns: map[net.Conn]struct{}{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { l.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		l.cut(true)
		running.Wait()
	})
	return l
}

// add takes a connection in, unless the link is cut.
func (l *cutLink) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isCut {
		l.conns[c] = struct{}{}
	}
	return !l.isCut
}

func (l *cutLink) serve(a net.Conn) {
	defer a.Close()
	b, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer b.Close()
	if !l.add(a) || !l.add(b) {
		return
	}
	var copying sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		copying.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_, _ = a.Close(), b.Close()
		})
	}
	copying.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, a)
	delete(l.conns, b)
}

// cut closes all connections and takes no more, or does so again.
func (l *cutLink) cut(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = yes
	if yes {
		for c := range l.conns {
			_ = c.Close()
		}
	}
}

// machines is a network where every node has a namespace, and a cable to a bridge. The
// coordinator and the clients are at the bridge.
type machines struct {
	prefix string
	ips    map[string]string
	all    int
}

// Where the clients and the coordinator are.
const (
	machinesClients     = "10.77.0.1"
	machinesCoordinator = "10.77.0.2"
)

func newMachines(t *testing.T) *machines {
	t.Helper()
	m := &machines{prefix: fmt.Sprintf("roost%d-", os.Getpid()), ips: map[string]string{}}
	for _, line := range []string{
		"link add br0 type bridge",
		"addr add " + machinesClients + "/24 dev br0",
		"addr add " + machinesCoordinator + "/24 dev br0",
		"link set br0 up",
	} {
		if err := ip(line); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := ip("link del br0"); err != nil {
			t.Error(err)
		}
	})
	return m
}

// ip runs the program of that name.
func ip(line string) error {
	out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, out)
	}
	return nil
}

func (m *machines) host() string { return machinesCoordinator }

func (m *machines) place(t *testing.T, node string) string {
	t.Helper()
	m.all++
	m.ips[node] = fmt.Sprintf("10.77.0.%d", 10+m.all)
	ns, cable := m.prefix+node, "c-"+node
	t.Cleanup(func() {
		_ = ip("link del " + cable) // the namespace takes its end with it too, but only some time later
		_ = ip("netns del " + ns)
	})
	for _, line := range []string{
		"netns add " + ns,
		"link add " + cable + " type veth peer name eth0 netns " + ns,
		"link set " + cable + " master br0",
		"link set " + cable + " up",
		"-n " + ns + " addr add " + m.ips[node] + "/24 dev eth0",
		"-n " + ns + " link set lo up",
		"-n " + ns + " link set eth0 up",
	} {
		if err := ip(line); err != nil {
			t.Fatal(err)
		}
	}
	return m.ips[node] + ":1143"
}

func (m *machines) coordinator(_ *testing.T, _, addr string) string { return addr }

func (m *machines) command(node string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", m.prefix + node}, args...)...)
}

// cut drops what a node sends to another, or takes its cable out.
func (m *machines) cut(node, from string) error {
	switch from {
	case "all":
		return ip("link set c-" + node + " down")
	case "coordinator":
		return ip("-n " + m.prefix + node + " route add blackhole " + machinesCoordinator)
	}
	return ip("-n " + m.prefix + node + " route add blackhole " + m.ips[from])
}

func (m *machines) heal(node string) error {
	if err := ip("link set c-" + node + " up"); err != nil {
		return err
	}
	return ip("-n " + m.prefix + node + " route flush type blackhole")
}
