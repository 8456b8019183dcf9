package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/admin/adminhttp"
	"github.com/roost-mail/roost/admin/admintest"
	"github.com/roost-mail/roost/auth"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

var updateCommands = flag.Bool("update-commands", false, "rewrite what the scripts of testdata/commands compare with")

// TestCommands runs the scripts of testdata/commands: what an administrator types, and
// what comes back. Those with a line "start cluster" have a cluster in memory, whose
// backends they start and stop; others run roost serve.
func TestCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nROOST_RUN_MAIN=1 exec %s \"$@\"\n", self)
	if err := os.WriteFile(filepath.Join(bin, "roost"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/commands", UpdateScripts: *updateCommands,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			env.Setenv("SOCKET", filepath.Join(env.WorkDir, "admin.sock"))
			env.Values[clusterKey{}] = &scripted{}
			return writeCertificates(t, env.WorkDir)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"start": scriptStart, "dies": scriptDies, "settle": scriptSettle, "session": scriptSession, "exits": scriptExits, "await": scriptAwait, "expand": scriptExpand,
		},
	})
}

func writeCertificates(t *testing.T, dir string) error {
	ca := tlstest.New(t)
	pair := ca.Valid(t, "localhost")
	for name, text := range map[string]string{"localhost.pem": pair.Cert, "localhost.key": pair.Key, "ca.pem": ca.PEM} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// scripted is the cluster of one script.
type scripted struct {
	*admintest.Cluster
	sessions *admintest.Sessions
}

// of is the cluster of a script.
func of(ts *testscript.TestScript) *scripted {
	s, ok := ts.Value(clusterKey{}).(*scripted)
	if !ok || s.Cluster == nil {
		ts.Fatalf("the script has to say: start cluster")
	}
	return s
}

type clusterKey struct{}

type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

func (s scriptTB) Helper()           {}
func (s scriptTB) Fatal(args ...any) { s.ts.Fatalf("%s", fmt.Sprint(args...)) }
func (s scriptTB) Cleanup(f func())  { s.ts.Defer(f) }

// scriptStart is "start cluster" and "start BACKEND [TAG]".
func scriptStart(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] != "cluster" {
		r := cluster.Registration{Host: args[0] + ".example.org", Port: 143, Version: "1.0", Volumes: []string{"v1"}}
		if len(args) > 1 {
			r.Tag = args[1]
		}
		of(ts).Start(args[0], r)
		return
	}
	s, ok := ts.Value(clusterKey{}).(*scripted)
	if !ok {
		ts.Fatalf("no script")
	}
	s.Cluster, s.sessions = admintest.New(scriptTB{ts: ts}), &admintest.Sessions{}
	names, err := auth.NewNames(auth.NameConfig{}, nil)
	ts.Check(err)
	a := &admin.Admin{
		Node: "d1", Log: slog.New(slog.DiscardHandler), Cluster: s.Shared, Sessions: s.sessions, Users: scriptUsers{names},
	}
	server := adminhttp.New(adminhttp.Config{Admin: a, Log: a.Log})
	ln, err := adminhttp.Socket(ts.Getenv("SOCKET"))
	ts.Check(err)
	go func() { _ = server.Serve(ln) }()
	ts.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = server.Close(ctx)
	})
}

type scriptUsers struct{ *auth.Names }

func (scriptUsers) List(context.Context, string) ([]string, error) { return nil, auth.ErrNoList }

func scriptDies(ts *testscript.TestScript, _ bool, args []string) { of(ts).Kill(args[0]) }

// scriptSettle is "settle [UNITS]": so many slots go where they belong.
func scriptSettle(ts *testscript.TestScript, _ bool, args []string) {
	most := 1 << 20
	if len(args) > 0 {
		most, _ = strconv.Atoi(args[0])
	}
	of(ts).Settle(most)
}

// scriptSession is "session USER BACKEND".
func scriptSession(ts *testscript.TestScript, _ bool, args []string) {
	of(ts).sessions.Add(admin.Session{
		ID: "s-" + args[0], User: args[0], Proto: "imap", Remote: netip.MustParseAddrPort("192.0.2.7:41000"),
		Peer: netip.MustParseAddrPort("192.0.2.7:41000"), Since: time.Now(), State: "proxied", Backend: args[1],
	})
}

// scriptExits is "exits CODE COMMAND...": the command ends with that code.
func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := err.(interface{ ExitCode() int }); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, _ := strconv.Atoi(args[0]); code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// scriptAwait is "await FILE": until it is there.
func scriptAwait(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	for range 1000 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s did not come", path)
}

// scriptExpand is "expand FILE...": $WORK in them becomes the script's directory.
func scriptExpand(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		text := strings.ReplaceAll(ts.ReadFile(file), "$WORK", ts.Getenv("WORK"))
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}
