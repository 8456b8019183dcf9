package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
)

// dovecotCluster is two directors of ours with a coordinator in front of two Dovecot backends.
type dovecotCluster struct {
	*dovecotRig
	etcd  *etcdtest.Server
	front string // the director that clients and administrators use
}

// The address of the second director; the first is the director of the rig.
const secondDirector = "127.0.1.2"

// TestDovecotCluster has the directors keep two Dovecot backends: a session is let
// through only while its user is nowhere else, whatever comes and goes.
func TestDovecotCluster(t *testing.T) {
	needTool(t, "dovecot")
	if os.Getuid() != 0 || testing.Short() {
		t.Skip("needs root to start dovecot, and half a minute")
	}
	t.Parallel()
	inNetworkNamespace(t, func(t *testing.T) {
		runTranscript(t, startDovecotCluster(t), "testdata/dovecot/cluster.txt")
	})
}

func startDovecotCluster(t *testing.T) *dovecotCluster {
	t.Helper()
	r := &dovecotCluster{dovecotRig: newDovecotRig(t, 143), etcd: etcdtest.Start(t, "127.0.0.1"), front: "director"}
	for name, addr := range map[string]string{"director": rigAddrs["director"], "second": secondDirector} {
		r.files[name] = filepath.Join(r.root, name+".conf")
		text := fmt.Sprintf(`
protocols = imap
listen = %s
ssl = no
disable_plaintext_auth = no
auth_master_user_separator = *
log_path = %s
base_dir = %s
cluster = etcd://%s
cluster_role = director
cluster_name = %s
health_check_interval = 1s
health_check_timeout = 2s
passdb {
  driver = static
  master = yes
  args = password=master-secret
  result_success = continue
}
passdb {
  driver = static
  args = password=pass proxy=y
}
`, addr, filepath.Join(r.root, name+".log"), filepath.Join(r.root, name), r.etcd.Addr, name)
		if err := os.WriteFile(r.files[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r.start(t, name, nil)
		t.Cleanup(func() { r.stop(t, name) })
	}
	return r
}

func (r *dovecotCluster) address() string {
	if r.front == "second" {
		return net.JoinHostPort(secondDirector, "143")
	}
	return r.dovecotRig.address()
}

func (r *dovecotCluster) do(t *testing.T, words []string) {
	t.Helper()
	switch words[0] {
	case "roost":
		r.roost(t, words[1:]...)
	case "status":
		r.await(t, "^"+regexp.QuoteMeta(words[1])+" .*"+strings.Join(words[2:], " "), "director", "status")
	case "at":
		r.await(t, "^Current: "+regexp.QuoteMeta(words[2]), "director", "status", words[1])
	case "front":
		r.front = words[1]
	case "ended":
		r.awaitEnded(t, words[1])
	case "stop", "start", "kill":
		r.comes(t, words[0], words[1])
	default:
		t.Fatalf("unknown line %q", words)
	}
}

// awaitEnded waits until a user has no session at the director any more.
func (r *dovecotCluster) awaitEnded(t *testing.T, user string) {
	t.Helper()
	for end := time.Now().Add(patience); strings.Contains(r.roost(t, "who"), user); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s has a session still", user)
		}
	}
}

// comes has a director, a backend or the coordinator come and go.
func (r *dovecotCluster) comes(t *testing.T, verb, name string) {
	t.Helper()
	var err error
	switch {
	case name == "coordinator" && verb == "kill":
		err = r.etcd.Kill()
	case name == "coordinator":
		err = r.etcd.Start()
	case r.files[name] != "" && verb == "stop":
		r.stop(t, name)
	case r.files[name] != "":
		r.start(t, name, nil)
	default:
		r.dovecotRig.do(t, []string{verb, name})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// roost runs a command at the director of front, and again as long as it says that
// what it began goes on.
func (r *dovecotCluster) roost(t *testing.T, words ...string) string {
	t.Helper()
	for end := time.Now().Add(6 * patience); ; {
		cmd := exec.Command(os.Args[0], append(words, "-c", r.files[r.front])...)
		cmd.Env = append(os.Environ(), "ROOST_RUN_MAIN=1")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return string(out)
		}
		if cmd.ProcessState.ExitCode() != admin.ExitTemporary || time.Now().After(end) {
			t.Fatalf("roost %s: %v\n%s", strings.Join(words, " "), err, out)
		}
	}
}

// await asks until a line of the answer matches.
func (r *dovecotCluster) await(t *testing.T, pattern string, words ...string) {
	t.Helper()
	p := regexp.MustCompile("(?m)" + pattern)
	for end := time.Now().Add(2 * patience); ; time.Sleep(100 * time.Millisecond) {
		out := r.roost(t, words...)
		if p.MatchString(out) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no line of %q is as %s\n%s", words, pattern, out)
		}
	}
}
