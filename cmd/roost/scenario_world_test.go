package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/admin/adminhttp"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
	"github.com/roost-mail/roost/scenario"
)

var (
	scenarioSeed  = flag.Uint64("scenario.seed", 0, "seed of the scenarios; 0: one of the clock")
	scenarioSlack = flag.Int("scenario.slack", 4, "how many times longer things may take than the scenarios say; 1 is for a machine that is quiet")
	scenarioMany  = flag.Int("scenario.faults", 0, "how many random faults happen in TestFaults; a thousand take half an hour")
	scenarioOnly  = flag.String("scenario", "", "run only the scenario of this name")
)

// TestScenarios has what the files tell happen to real processes on loopback: a
// coordinator, directors, and backends that share a filesystem.
func TestScenarios(t *testing.T) {
	scenariosToo(t)
	eachScenario(t, "testdata/scenarios/*.txt", func(*testing.T) worldNetwork { return newLoopback() })
}

// TestPartitions does so where every node is a machine in the network.
func TestPartitions(t *testing.T) {
	scenariosToo(t)
	t.Parallel()
	inNetworkNamespace(t, func(t *testing.T) {
		eachScenario(t, "testdata/scenarios/network/*.txt", func(t *testing.T) worldNetwork { return newMachines(t) })
	})
}

// TestFaults has as many random faults happen as are asked for.
func TestFaults(t *testing.T) {
	if *scenarioMany == 0 {
		t.Skip("-scenario.faults says how many")
	}
	runScenario(t, "faults", scenario.ManyFaults(*scenarioMany, 12), newLoopback())
}

// TestUpgrade has a version to come run beside this one.
func TestUpgrade(t *testing.T) {
	scenariosToo(t)
	eachScenario(t, "testdata/scenarios/upgrade/*.txt", func(*testing.T) worldNetwork { return newLoopback() })
}

// buildNext builds the program as a version to come, whose records have more fields.
func buildNext(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "roost-next")
	out, err := exec.Command("go", "build", "-tags", "roostnext", "-ldflags", "-X main.buildVersion=next", "-o", program, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// checkNext sees that all backends are of a version to come now.
func (w *processWorld) checkNext() {
	kvs, _, err := w.coordinator.Range(w.t.Context(), "backends/")
	if err != nil || len(kvs) != len(w.backends) {
		w.t.Errorf("%d backends, %v", len(kvs), err)
	}
	for _, kv := range kvs {
		if !strings.Contains(string(kv.Value), "a version to come") {
			w.t.Errorf("%s is of this version: %s", kv.Key, kv.Value)
		}
	}
}

// scenariosToo skips a test that real time has to pass in. The processes are this
// program: with the race detector they would be too slow for what is told of them.
func scenariosToo(t *testing.T) {
	asked := os.Getenv("ROOST_TEST_PEERS") == "1" || *scenarioOnly != "" || *scenarioSlack == 1
	if testing.Short() || raceDetector || !asked {
		t.Skip("scenarios take their time, and run without the race detector: ROOST_TEST_PEERS=1, or -scenario.slack 1")
	}
}

func eachScenario(t *testing.T, pattern string, makeNetwork func(*testing.T) worldNetwork) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			if *scenarioOnly != "" && *scenarioOnly != name {
				t.Skip("another is asked for")
			}
			if os.Getenv(namespaceMarker) == "" {
				t.Parallel()
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			runScenario(t, file, string(text), makeNetwork(t))
		})
	}
}

func runScenario(t *testing.T, name, text string, network worldNetwork) {
	s, err := scenario.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	s.Slacken(*scenarioSlack)
	w := newProcessWorld(t, s, network)
	seed := *scenarioSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	w.rand = rand.New(rand.NewPCG(seed, 0))
	if slices.Contains(s.Verbs(), "upgrade") {
		w.next = buildNext(t)
	}
	r := scenario.Runner{World: w, Seed: seed, Logf: t.Logf}
	if err := r.Run(t.Context(), s); err != nil {
		t.Errorf("%v\n%s", err, w.logs())
	}
	if w.next != "" {
		w.checkNext()
	}
}

// processWorld is a scenario's world of real processes on loopback ports. Each reaches
// the coordinator through a link of its own that can be cut.
type processWorld struct {
	t     *testing.T
	dir   string
	begun time.Time
	rand  *rand.Rand
	etcd  *etcdtest.Server
	view  *cluster.View

	coordinator cluster.Coordinator
	next        string // the program of a version to come; "" until it is needed

	network worldNetwork
	users   []string

	mu        sync.Mutex // guards what follows, against the clients
	nodes     map[string]*worldNode
	directors []string
	backends  []string
}

type worldNode struct {
	name    string
	addr    string
	conf    string
	process *exec.Cmd
	done    chan struct{}
	stopped bool
	next    bool // it runs as a version to come
	cut     bool // off somebody
}

func newProcessWorld(t *testing.T, s *scenario.Scenario, network worldNetwork) *processWorld {
	w := &processWorld{t: t, dir: t.TempDir(), begun: time.Now(), nodes: map[string]*worldNode{}, directors: s.Directors, backends: s.Backends, users: s.UserNames(), network: network}
	w.etcd = etcdtest.Start(t, network.host())
	w.coordinator, w.view = watchCluster(t, w.etcd.Addr)
	volume := filepath.Join(w.dir, "mail")
	if err := os.Mkdir(volume, 0o700); err != nil {
		t.Fatal(err)
	}
	runRoost(t, "store", "init", volume)
	w.writeUsers()
	for _, name := range s.Nodes() {
		n := &worldNode{name: name, addr: network.place(t, name)}
		n.conf = filepath.Join(w.dir, name+".conf")
		if err := os.WriteFile(n.conf, []byte(w.config(n, slices.Contains(s.Backends, name))), 0o600); err != nil {
			t.Fatal(err)
		}
		w.nodes[name] = n
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			w.end(n, syscall.SIGTERM)
		}
		checkMail(t, filepath.Join(volume, "home"))
	})
	return w
}

const worldPassword = "pass"

// config is the configuration file of a node.
func (w *processWorld) config(n *worldNode, backend bool) string {
	host, port, _ := net.SplitHostPort(n.addr)
	common := fmt.Sprintf(`
protocols = imap
listen = %s
ssl = no
disable_plaintext_auth = no
base_dir = %s
cluster = etcd://%s
cluster_name = %s
login_trusted_networks = 127.0.0.0/8 10.77.0.0/24
service imap-login {
  inet_listener imap {
    port = %s
  }
}
`, host, filepath.Join(w.dir, n.name), w.network.coordinator(w.t, n.name, w.etcd.Addr), n.name, port)
	if !backend {
		return common + `
cluster_role = director
passdb {
  driver = static
  args = password=` + worldPassword + ` proxy=y
}
`
	}
	return common + fmt.Sprintf(`
cluster_role = backend
cluster_address = %s
mail_volume = %s
mail_ballast = 0
mail_min_free = 1M
mail_location = roost:~/mail
mail_plugins = acl
plugin {
  acl = vfile
}
passdb {
  driver = passwd-file
  args = %s
}
userdb {
  driver = passwd-file
  args = %s
}
`, n.addr, filepath.Join(w.dir, "mail"), w.usersFile(), w.usersFile())
}

func (w *processWorld) usersFile() string { return filepath.Join(w.dir, "users") }

// writeUsers writes the users down so that they can be listed.
func (w *processWorld) writeUsers() {
	var text strings.Builder
	for _, user := range w.users {
		fmt.Fprintf(&text, "%s:{PLAIN}%s::::%s/mail/home/%s\n", user, worldPassword, w.dir, user)
	}
	if err := os.WriteFile(w.usersFile(), []byte(text.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// Now implements scenario.World.
func (w *processWorld) Now() time.Duration { return time.Since(w.begun) }

// Sleep implements scenario.World.
func (w *processWorld) Sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// Open logs in at one director after the other until one answers.
func (w *processWorld) Open(ctx context.Context, user string) (scenario.Session, error) {
	w.mu.Lock()
	first := w.rand.IntN(len(w.directors))
	w.mu.Unlock()
	var err error
	for i := range w.directors {
		n := w.nodes[w.directors[(first+i)%len(w.directors)]]
		var s *imapSession
		if s, err = openIMAPSession(ctx, n.addr, user, worldPassword); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// Drift asks each backend by its socket whether the index is right about the owners whom it
// serves. One that is cut off, or does not run, serves nobody.
func (w *processWorld) Drift(ctx context.Context) (string, error) {
	verify, _ := admin.Find("share verify")
	args, err := verify.Parse(map[string]string{"all-users": "true", "here": "true"})
	if err != nil {
		return "", err
	}
	var wrong strings.Builder
	owners := 0
	for _, name := range w.backends {
		if n := w.nodes[name]; n.cut || n.stopped || n.process == nil {
			continue
		}
		res, err := adminhttp.Unix(filepath.Join(w.dir, name, "admin.sock")).Call(ctx, verify, args, nil)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		v := res.(*admin.ShareVerify)
		owners += v.Owners
		for _, d := range v.Drifts {
			fmt.Fprintf(&wrong, "%s: %+v\n", name, d)
		}
	}
	if owners != len(w.users) {
		fmt.Fprintf(&wrong, "%d of %d owners were looked at", owners, len(w.users))
	}
	return wrong.String(), nil
}

// verbs are the steps that processes can take.
func (w *processWorld) verbs() map[string]func(context.Context, scenario.Step) error {
	each := func(do func(*worldNode) error) func(context.Context, scenario.Step) error {
		return func(_ context.Context, s scenario.Step) error { return w.each(s.Args, do) }
	}
	return map[string]func(context.Context, scenario.Step) error{
		"start":     w.coordinatorOr((*etcdtest.Server).Start, each(w.start)),
		"kill":      w.coordinatorOr((*etcdtest.Server).Kill, each(func(n *worldNode) error { w.end(n, syscall.SIGKILL); return nil })),
		"term":      each(func(n *worldNode) error { w.end(n, syscall.SIGTERM); return nil }),
		"upgrade":   w.upgrade,
		"downgrade": w.upgrade,
		"stop":      each(func(n *worldNode) error { n.stopped = true; return n.process.Process.Signal(syscall.SIGSTOP) }),
		"continue":  each(func(n *worldNode) error { n.stopped = false; return n.process.Process.Signal(syscall.SIGCONT) }),
		"heal":      each(func(n *worldNode) error { n.cut = false; return w.network.heal(n.name) }),
		"cut":       w.cut,
		"copy":      func(context.Context, scenario.Step) error { return w.etcd.Copy() },
		"restore":   func(context.Context, scenario.Step) error { return w.etcd.Restore() },
		"wipe":      func(context.Context, scenario.Step) error { return w.etcd.Wipe() },
	}
}

// coordinatorOr does one thing to the coordinator, and another to nodes.
func (w *processWorld) coordinatorOr(do func(*etcdtest.Server) error, nodes func(context.Context, scenario.Step) error) func(context.Context, scenario.Step) error {
	return func(ctx context.Context, s scenario.Step) error {
		if slices.Equal(s.Args, []string{"coordinator"}) {
			return do(w.etcd)
		}
		return nodes(ctx, s)
	}
}

// Can implements scenario.World.
func (w *processWorld) Can(verb string) bool { return w.verbs()[verb] != nil }

// Cluster implements scenario.World.
func (w *processWorld) Cluster() (cluster.Coordinator, *cluster.View) { return w.coordinator, w.view }

// Do implements scenario.World.
func (w *processWorld) Do(ctx context.Context, s scenario.Step) error {
	return w.verbs()[s.Verb](ctx, s)
}

func (w *processWorld) each(names []string, do func(*worldNode) error) error {
	if slices.Equal(names, []string{"all"}) {
		names = nil
		for name := range w.nodes {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	for _, name := range names {
		if err := do(w.nodes[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// startTime is how long a node is waited for: without the coordinator it does not begin.
const startTime = 5 * time.Second

// start starts a node and waits until it takes connections, or startTime is over.
func (w *processWorld) start(n *worldNode) error {
	if n.process != nil {
		return nil
	}
	out, err := os.OpenFile(filepath.Join(w.dir, n.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	program := os.Args[0]
	if n.next {
		program = w.next
	}
	cmd := w.network.command(n.name, program, "serve", "-c", n.conf)
	cmd.Env = append(os.Environ(), "ROOST_RUN_MAIN=1")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	n.process, n.done, n.stopped = cmd, make(chan struct{}), false
	go func() {
		_ = cmd.Wait()
		close(n.done)
	}()
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); {
		if conn, err := net.Dial("tcp", n.addr); err == nil {
			return conn.Close()
		}
		select {
		case <-n.done:
			return errors.New("it ended while it started")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// end ends a node's process.
func (w *processWorld) end(n *worldNode, sig syscall.Signal) {
	if n.process == nil {
		return
	}
	if n.stopped {
		_ = n.process.Process.Signal(syscall.SIGCONT)
	}
	_ = n.process.Process.Signal(sig)
	select {
	case <-n.done:
	case <-time.After(patience):
		w.t.Errorf("%s did not end", n.name)
		_ = n.process.Process.Kill()
		<-n.done
	}
	n.process = nil
}

// upgrade restarts a node as a version to come, or as this one.
func (w *processWorld) upgrade(_ context.Context, s scenario.Step) error {
	n := w.nodes[s.Args[0]]
	n.next = s.Verb == "upgrade"
	w.end(n, syscall.SIGTERM)
	return w.start(n)
}

func (w *processWorld) cut(_ context.Context, s scenario.Step) error {
	if s.Args[1] != "from" {
		return errors.New("cut NODE from WHOM")
	}
	w.nodes[s.Args[0]].cut = true
	return w.network.cut(s.Args[0], s.Args[2])
}

// logs are the last lines of all nodes that say more than who came and went.
func (w *processWorld) logs() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.nodes)) {
		text, _ := os.ReadFile(filepath.Join(w.dir, name+".log"))
		var lines []string
		for line := range strings.Lines(string(text)) {
			if !strings.Contains(line, "msg=login ") && !strings.Contains(line, "msg=logout ") && !strings.Contains(line, "msg=proxying ") {
				lines = append(lines, line[:min(len(line), 400)])
			}
		}
		fmt.Fprintf(&b, "== %s\n%s\n", name, strings.Join(lines[max(0, len(lines)-80):], ""))
	}
	return b.String()
}

// runRoost runs a command of roost.
func runRoost(t testing.TB, args ...string) string {
	t.Helper()
	out, err := tryRoost(args...)
	if err != nil {
		t.Fatalf("roost %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryRoost(args ...string) (output string, err error) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "ROOST_RUN_MAIN=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
