package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
)

var (
	versus         = flag.Bool("versus", false, "run TestVersusDovecot, which takes minutes")
	versusMessages = flag.Int("versus.messages", 10_000, "how many messages TestVersusDovecot searches")
	versusCluster  = flag.Bool("versus.cluster", false, "our nodes have a coordinator in TestVersusDovecot")
	versusTime     = flag.Duration("versus.time", 2*time.Second, "how long TestVersusDovecot measures each round of APPENDs")
)

// contender is a cluster of a director and two backends that runs in processes
// of its own.
type contender struct {
	name string
	addr string
	cpu  func() time.Duration // of all its processes so far
}

// TestVersusDovecot measures Roost and Dovecot 2.3 side by side on the same mail
// and the same commands, through their directors: Dovecot with mdbox, with processes that
// serve many logins and, logins only, in its high-performance mode and as it comes, with a
// process for each.
func TestVersusDovecot(t *testing.T) {
	if !*versus {
		t.Skip("needs -versus")
	}
	needTool(t, "dovecot")
	ours := startVersusRoost(t)
	logins := []versusRow{
		{"CPU per login through the director", "us", 5, func(t *testing.T, c *contender) float64 { return versusLogin(t, c, 1) }},
		{"the same, 16 clients at once", "us", 5, func(t *testing.T, c *contender) float64 { return versusLogin(t, c, 16) }},
	}
	t.Run("processes stay", func(t *testing.T) {
		compare(t, ours, startVersusDovecot(t, keptLogins+keptMail), append([]versusRow{
			{"CPU per command of a mixed load", "us", 1, versusMixed},
			{"warm SEARCH TEXT of all messages", "ms", 1, versusSearch},
			{"durable APPENDs by 16 users", "/s", 5, func(t *testing.T, c *contender) float64 { return versusAppend(t, c, 16) }},
			{"durable APPENDs by 64 users", "/s", 5, func(t *testing.T, c *contender) float64 { return versusAppend(t, c, 64) }},
		}, logins...))
	})
	t.Run("login processes stay", func(t *testing.T) { compare(t, ours, startVersusDovecot(t, keptLogins), logins) })
	t.Run("a process for each login", func(t *testing.T) { compare(t, ours, startVersusDovecot(t, ""), logins) })
}

// versusRow is one thing to measure, so many times in turn.
type versusRow struct {
	name, unit string
	rounds     int
	run        func(*testing.T, *contender) float64
}

// compare logs the medians, that of the rounds' ratios, and what these were between.
func compare(t *testing.T, ours, theirs *contender, rows []versusRow) {
	for _, m := range rows {
		var roost, dovecot, ratios []float64
		for range m.rounds {
			a, b := m.run(t, ours), m.run(t, theirs)
			roost, dovecot = append(roost, a), append(dovecot, b)
			if m.unit != "/s" {
				a, b = b, a
			}
			ratios = append(ratios, a/b)
		}
		t.Logf("%-40s roost %10.1f %s   dovecot %10.1f %s   better by %.2f (%.2f to %.2f)", m.name,
			median(roost), m.unit, median(dovecot), m.unit, median(ratios), slices.Min(ratios), slices.Max(ratios))
	}
}

// versusUsers is how many users each side has.
const versusUsers = 64

func startVersusRoost(t *testing.T) *contender {
	t.Helper()
	port := freePort(t)
	var r *processRig
	if *versusCluster {
		r = startVersusCluster(t, port)
	} else {
		r = startProcessRig(t, "rig", port, "")
		writeVersusUsers(t, r.root, port)
	}
	return &contender{name: "roost", addr: r.address(), cpu: func() time.Duration {
		var sum time.Duration
		for _, p := range r.running {
			sum += processTimes(t, p.cmd.Process.Pid)
		}
		return sum
	}}
}

// startVersusCluster starts it with a coordinator, and returns when users are served.
func startVersusCluster(t *testing.T, port int) *processRig {
	t.Helper()
	etcd := etcdtest.Start(t, "127.0.0.1")
	r := startProcessRigWith(t, "rig", port, func(r *processRig, name, text string) string {
		volume := filepath.Join(r.root, "shared-fs")
		if name == "director" { // once
			runRoost(t, "store", "init", volume)
			writeVersusUsers(t, r.root, port)
		}
		return inCluster(text, name, etcd.Addr, volume)
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		served := 0
		for user := range versusUsers {
			c, err := dialLines(t.Context(), "", r.address())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.ok("LOGIN someone%d pass", user+1); err == nil {
				served++
			}
			c.close()
		}
		if served == versusUsers {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d users are served", served)
		}
	}
}

// writeVersusUsers writes the files of users that both sides read.
func writeVersusUsers(t *testing.T, root string, port int) {
	t.Helper()
	var users, proxied strings.Builder
	for i := range versusUsers {
		fmt.Fprintf(&users, "someone%d:{PLAIN}pass:5000:5000::%s/shared-fs/home/someone%d::\n", i+1, root, i+1)
		fmt.Fprintf(&proxied, "someone%d:{PLAIN}pass::::::proxy=y port=%d\n", i+1, port)
	}
	for name, text := range map[string]string{"users": users.String(), "users.director": proxied.String()} {
		path := filepath.Join(root, "etc", name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// keptLogins is what Dovecot's documentation calls the high-performance mode of its login
// processes. With keptMail, too, hardly a process is started for a login.
const (
	keptLogins = `
service imap-login {
  service_count = 0
  process_min_avail = 2
  client_limit = 5000
}
`
	keptMail = `
service imap {
  service_count = 1000
  process_min_avail = 4
}
`
)

// startVersusDovecot starts the cluster whose files our tests use as well.
func startVersusDovecot(t *testing.T, settings string) *contender {
	t.Helper()
	root, err := os.MkdirTemp("", "versus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	port := freePort(t)
	files := writeDovecotRig(t, root, port, settings)
	var pids []int
	for _, name := range []string{"be1", "be2", "director"} {
		pids = append(pids, runDovecot(t, files[name], filepath.Join(root, name, "dovecot.log")))
		awaitServer(t, net.JoinHostPort(rigAddrs[name], strconv.Itoa(port)))
	}
	return &contender{name: "dovecot", addr: net.JoinHostPort(rigAddrs["director"], strconv.Itoa(port)), cpu: func() time.Duration {
		var sum time.Duration
		for _, pid := range pids {
			sum += processTimes(t, pid)
		}
		return sum
	}}
}

// writeDovecotRig writes the cluster's files for Dovecot itself.
func writeDovecotRig(t *testing.T, root string, port int, settings string) map[string]string {
	t.Helper()
	files := writeRig(t, "rig", root, port)
	writeVersusUsers(t, root, port)
	for name, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := strings.Replace(string(text), "mail_location = roost:~/mail", "mail_location = mdbox:~/mdbox", 1) + settings
		for _, dir := range []string{"base", "state"} {
			if err := os.MkdirAll(filepath.Join(root, name, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Its mail processes are another user's.
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(path, filepath.Join(root, "shared-fs")) {
			err = os.Chown(path, 5000, 5000)
		}
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755)
		}
		return err
	})
	if err := errors.Join(err, os.MkdirAll(filepath.Join(root, "shared-fs/home"), 0o755), os.Chown(filepath.Join(root, "shared-fs/home"), 5000, 5000)); err != nil {
		t.Fatal(err)
	}
	return files
}

// processTimes is the processor time of a process, of its children that live
// and, at one remove, of those that have ended.
func processTimes(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0 // a child that has just ended: its parent has its times now
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	var ticks int
	for _, f := range strings.Fields(rest)[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	sum := time.Duration(ticks) * 10 * time.Millisecond
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range tasks {
		children, _ := os.ReadFile(path)
		for _, child := range strings.Fields(string(children)) {
			n, _ := strconv.Atoi(child)
			sum += processTimes(t, n)
		}
	}
	return sum
}

// versusSession logs in.
func versusSession(t *testing.T, c *contender, user int) *lineClient {
	t.Helper()
	l, err := dialLines(context.Background(), "", c.addr)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	t.Cleanup(l.close)
	l.must(t, c, "LOGIN someone%d pass", user)
	return l
}

func (l *lineClient) must(t *testing.T, c *contender, format string, args ...any) {
	t.Helper()
	if _, err := l.ok(format, args...); err != nil {
		t.Errorf("%s: %v", c.name, err)
		panic(errVersus)
	}
}

var errVersus = errors.New("a command failed")

// versusText is a message of some 3 kB, now and then with an attachment.
func versusText(i int) string {
	head := fmt.Sprintf("From: Sender %d <s%d@example.org>\r\nTo: someone1@example.org, Other <o%d@example.net>\r\nSubject: Message number %d\r\n"+
		"Date: Tue, 24 Nov 2026 10:%02d:00 +0000\r\nMessage-ID: <%d@example.org>\r\nReferences: <%d@example.org>\r\nMIME-Version: 1.0\r\n", i%97, i%97, i%7, i, i%60, i, i/2)
	body := strings.Repeat(fmt.Sprintf("A line of message %d that somebody wrote to somebody else.\r\n", i), 40)
	if i%10 != 0 {
		return head + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + body
	}
	return head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n" + body +
		"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 20) + "--b--\r\n"
}

func versusFill(t *testing.T, c *contender, l *lineClient, box string, n int) {
	t.Helper()
	const batch = 250
	for done := 0; done < n; done += batch {
		var cmd strings.Builder
		cmd.WriteString("APPEND " + box)
		for i := done; i < min(done+batch, n); i++ {
			fmt.Fprintf(&cmd, " {%d+}\r\n%s", len(versusText(i)), versusText(i))
		}
		l.must(t, c, "%s", cmd.String())
	}
}

const (
	mixedUsers    = 8
	mixedMessages = 1000
	mixedCommands = 1500 // of each user
)

// versusMixed is what clients do all day, by several users at once.
func versusMixed(t *testing.T, c *contender) float64 {
	sessions := make([]*lineClient, mixedUsers)
	for i := range sessions {
		sessions[i] = versusSession(t, c, i+1)
		versusFill(t, c, sessions[i], "INBOX", mixedMessages)
		sessions[i].must(t, c, "CREATE Kept")
		sessions[i].must(t, c, "SELECT INBOX")
		sessions[i].must(t, c, "FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)")
	}
	before := c.cpu()
	var all sync.WaitGroup
	for i, l := range sessions {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range mixedCommands {
				l.must(t, c, "%s", mixedCommand(r))
			}
		})
	}
	all.Wait()
	return float64((c.cpu() - before).Microseconds()) / (mixedUsers * mixedCommands)
}

// mixedCommand is one command of a mail client, in the shares they have.
func mixedCommand(r *rand.Rand) string {
	n := 1 + r.IntN(mixedMessages)
	from := 1 + r.IntN(mixedMessages-50)
	switch r.IntN(20) {
	case 0, 1:
		return "NOOP"
	case 2, 3, 4:
		return fmt.Sprintf("FETCH %d:%d (UID FLAGS)", from, from+49)
	case 5, 6:
		return fmt.Sprintf("FETCH %d:%d (UID FLAGS ENVELOPE RFC822.SIZE INTERNALDATE)", from, from+49)
	case 7:
		return fmt.Sprintf("FETCH %d:%d (BODYSTRUCTURE)", from, from+49)
	case 8, 9, 10:
		return fmt.Sprintf("FETCH %d (BODY.PEEK[])", n)
	case 11:
		return fmt.Sprintf("UID FETCH %d:%d (BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE MESSAGE-ID)])", from, from+19)
	case 12, 13:
		return fmt.Sprintf(`STORE %d %sFLAGS (%s)`, n, []string{"+", "-"}[r.IntN(2)], []string{`\Seen`, `\Flagged`, `\Answered`}[r.IntN(3)])
	case 14:
		return "SEARCH UNSEEN"
	case 15:
		return fmt.Sprintf(`SEARCH SUBJECT "number %d"`, n)
	case 16:
		return "STATUS Kept (MESSAGES UNSEEN UIDNEXT)"
	case 17:
		text := versusText(n)
		return fmt.Sprintf("APPEND Kept {%d+}\r\n%s", len(text), text)
	case 18:
		return fmt.Sprintf("COPY %d Kept", n)
	}
	return `LIST "" *`
}

// versusSearch is the median time of a search through all text.
func versusSearch(t *testing.T, c *contender) float64 {
	l := versusSession(t, c, 9)
	l.must(t, c, "CREATE Big")
	versusFill(t, c, l, "Big", *versusMessages)
	l.must(t, c, "SELECT Big")
	var times []float64
	for i := range 9 {
		started := time.Now()
		l.must(t, c, `SEARCH TEXT "message %d that"`, 9000+i)
		if i >= 2 {
			times = append(times, float64(time.Since(started).Microseconds())/1000)
		}
	}
	return median(times)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// versusAppend is how many messages a second are durable, each user in an own account.
func versusAppend(t *testing.T, c *contender, users int) float64 {
	sessions := make([]*lineClient, users)
	for i := range sessions {
		sessions[i] = versusSession(t, c, i+1)
	}
	text := versusText(1)
	var all sync.WaitGroup
	var done atomic.Int64
	started := time.Now()
	for _, l := range sessions {
		all.Go(func() {
			for time.Since(started) < *versusTime {
				l.must(t, c, "APPEND INBOX {%d+}\r\n%s", len(text), text)
				done.Add(1)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(started).Seconds()
}

// versusLogin is the processor time of a login and logout, by so many clients at once.
func versusLogin(t *testing.T, c *contender, clients int) float64 {
	const logins = 400
	before := c.cpu()
	var all sync.WaitGroup
	for first := range clients {
		all.Go(func() {
			for i := first; i < logins; i += clients {
				l, err := dialLines(context.Background(), "", c.addr)
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
					return
				}
				l.must(t, c, "LOGIN someone%d pass", 1+i%versusUsers)
				l.must(t, c, "LOGOUT")
				l.close()
			}
		})
	}
	all.Wait()
	return float64((c.cpu() - before).Microseconds()) / logins
}
