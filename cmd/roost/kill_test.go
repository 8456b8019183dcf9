package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	killRounds = flag.Int("kill.rounds", 6, "how often TestKill kills a process")
	killSeed   = flag.Uint64("kill.seed", 0, "what TestKill does; 0: another thing each time")
)

// killWorkers are the clients of TestKill: who logs in and which mailboxes, all
// made by their owners, the client works on. someone1, 5 and 6 live on be1,
// someone2 and 3 on be2, so that every path is there: own mail, and others'
// mail at the other backend, both ways, with copies between any two.
var killWorkers = []struct {
	user  string
	boxes []string // as user calls them
}{
	{"someone1", []string{"Work", "Kept", "shared/someone2/Work"}},
	{"someone2", []string{"Work", "Kept", "shared/someone1/Work", "shared/someone5/Work"}},
	{"someone3", []string{"shared/someone1/Work", "shared/someone5/Work", "Kept"}},
	{"someone5", []string{"Work", "Kept"}},
}

// TestKill kills processes of a cluster at any moment while clients work, and
// then asks what became of everything that a client was told.
func TestKill(t *testing.T) {
	if testing.Short() {
		*killRounds = min(*killRounds, 3) // each kind of process once
	}
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-kill.seed=%d -kill.rounds=%d", seed, *killRounds)
	k := &killTest{
		t: t, rig: startProcessRig(t, "rig", freePort(t), ""),
		rand: rand.New(rand.NewPCG(seed, 0)), seed: seed,
		boxes: map[string]*killBox{}, frozen: map[string]bool{}, made: map[string]outcome{}, rights: map[string]map[string]bool{},
	}
	k.makeBoxes()
	victims := [][]string{{"be1"}, {"be2"}, {"director"}, {"be1", "be2"}}
	for round := range *killRounds {
		k.round(round, victims[round%len(victims)])
		k.verify()
		if t.Failed() {
			return
		}
	}
	t.Logf("%d commands were done, %d refused, %d cut off; %d messages are there; %d locks were left behind",
		k.done[acknowledged], k.done[refused], k.done[unknown], k.count(), k.locks)
}

// outcome is what a client knows of a command that it gave.
type outcome int

const (
	unknown      outcome = iota // the connection broke, or a backend behind it
	acknowledged                // OK
	refused                     // NO or BAD
)

// killTest is the model: what the mail must be, and what it may be. Everything
// that a command with an unknown outcome concerned is left alone from then on.
type killTest struct {
	t    *testing.T
	rig  *processRig
	rand *rand.Rand // of the test's own goroutine
	seed uint64

	mu     sync.Mutex // guards what follows, while workers run
	boxes  map[string]*killBox
	moves  []killMove                 // of unknown outcome
	frozen map[string]bool            // messages of moves: nobody touches them again
	made   map[string]outcome         // mailboxes by "owner name"; removed again: refused
	rights map[string]map[string]bool // what someone9 may have, by "owner name"
	done   [3]int                     // commands by outcome
	locks  int                        // that breakLock removed
	serial int
}

// killBox is a mailbox, named "owner name".
type killBox struct {
	validity, next uint64
	copies         map[uint64]*killCopy // by UID; those that are gone as well
	mayCome        map[string]int       // messages that may be there once more: unknown outcomes
}

// killCopy is a message in a mailbox.
type killCopy struct {
	id     string
	uid    uint64
	gone   bool            // for certain
	maybe  bool            // may be gone: neither there nor gone is an error
	viewer string          // the worker whose it is; empty: nobody touches it again
	flags  map[string]bool // those that are known to be set or not, as viewer sees it
}

// killMove is a MOVE whose outcome is unknown: the message is somewhere, and if
// both mailboxes are one user's it is in one place only.
type killMove struct {
	id       string
	from, to string
	uid      uint64
	had      int  // copies of it that the target has had before
	exact    bool // it has no other way into the target
}

func (m *killMove) oneOwner() bool {
	from, _, _ := strings.Cut(m.from, " ")
	return strings.HasPrefix(m.to, from+" ")
}

func boxKey(user, box string) string {
	if rest, ok := strings.CutPrefix(box, "shared/"); ok {
		user, box, _ = strings.Cut(rest, "/")
	}
	return user + " " + box
}

func (k *killTest) check(err error) {
	if err != nil {
		k.t.Error(err)
	}
}

func (b *killBox) sawValidity(v uint64) error {
	if b.validity != 0 && b.validity != v {
		return fmt.Errorf("UIDVALIDITY was %d and is %d", b.validity, v)
	}
	b.validity = v
	return nil
}

// saw notes that a UID is that message, now and for ever.
func (b *killBox) saw(uid uint64, id string) error {
	c := b.copies[uid]
	if c == nil {
		b.copies[uid] = &killCopy{id: id, uid: uid, flags: map[string]bool{}}
		return nil
	}
	if c.id != id {
		return fmt.Errorf("UID %d was %s and is %s", uid, c.id, id)
	}
	return nil
}

// ever is how many copies of a message have been seen in the mailbox so far.
func (b *killBox) ever(id string) (n int) {
	for _, c := range b.copies {
		if c.id == id {
			n++
		}
	}
	return n
}

func (b *killBox) count() (n int) {
	for _, c := range b.copies {
		if !c.gone {
			n++
		}
	}
	return n
}

// makeBoxes makes the mailboxes and lets everybody write in those that are shared.
func (k *killTest) makeBoxes() {
	for _, owner := range []string{"someone1", "someone2", "someone3", "someone5"} {
		c := k.login(owner)
		for _, box := range []string{"Work", "Kept"} {
			k.must(c.ok("CREATE %s", box))
			k.rights[boxKey(owner, "Kept")] = map[string]bool{"": true}
			k.boxes[boxKey(owner, box)] = &killBox{copies: map[uint64]*killCopy{}, mayCome: map[string]int{}}
		}
		k.must(c.ok("SETACL Work anyone lrswitek"))
		c.close()
	}
}

func (k *killTest) must(untagged []string, err error) []string {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
	return untagged
}

func (k *killTest) login(user string) *lineClient {
	k.t.Helper()
	c, err := k.connect(k.t.Context(), user)
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

func (k *killTest) connect(ctx context.Context, user string) (*lineClient, error) {
	c, err := dialLines(ctx, "", k.rig.address())
	if err != nil {
		return nil, err
	}
	if _, err := c.ok("LOGIN %s pass", user); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// round lets the clients work, kills one process, starts it again while they
// go on, and ends when each has found its way back.
func (k *killTest) round(n int, victims []string) {
	ctx, stop := context.WithCancel(k.t.Context())
	defer stop()
	var workers sync.WaitGroup
	for i := range killWorkers {
		w := &killWorker{
			killTest: k, n: i, user: killWorkers[i].user, names: killWorkers[i].boxes,
			rand: rand.New(rand.NewPCG(k.seed, uint64(n)<<8|uint64(i)+1)),
		}
		w.safe = !slices.Contains(victims, "director") && !slices.Contains(victims, k.homeOf(w.user))
		workers.Go(func() { w.run(ctx) })
	}
	pause := func(ms int) { time.Sleep(time.Duration(k.rand.IntN(ms)) * time.Millisecond) } // the moment is what is tried
	pause(600)
	for _, victim := range victims {
		k.rig.kill(k.t, victim)
	}
	k.breakLock()
	pause(200)
	for _, victim := range victims {
		k.rig.start(k.t, victim)
	}
	pause(400)
	stop()
	workers.Wait()
}

// breakLock removes the lock file of the sharing index if the killed process had
// it: nobody who lives has it open. By itself it would count as left behind
// after a minute, as Dovecot's would, and hold up every SETACL until then.
func (k *killTest) breakLock() {
	name := filepath.Join(k.rig.root, "shared-fs/acl/shared-mailboxes.lock")
	first, err := os.Stat(name)
	for range 3 {
		if err != nil || k.rig.hasOpen(name) {
			return
		}
		time.Sleep(5 * time.Millisecond) // it may be just being made
		var st os.FileInfo
		if st, err = os.Stat(name); err == nil && !os.SameFile(first, st) {
			return
		}
	}
	k.locks++
	k.check(os.Remove(name))
}

// homeOf is the backend that a user of the rig lives on.
func (k *killTest) homeOf(user string) string {
	switch user {
	case "someone1", "someone5", "someone6", "someone7", "someone8":
		return "be1"
	}
	return "be2"
}

// verify compares the mail with the model, as its owners and the workers see it.
func (k *killTest) verify() {
	k.t.Helper()
	views := map[string]map[string]killView{} // by viewer and mailbox
	for _, w := range killWorkers {
		views[w.user] = map[string]killView{}
		c := k.loginAgain(w.user)
		for _, box := range append([]string{"Work", "Kept"}, w.boxes...) {
			key := boxKey(w.user, box)
			if _, done := views[w.user][key]; done {
				continue
			}
			views[w.user][key] = k.look(c, box)
			k.compare(key, views[w.user][key])
		}
		k.compareNames(c, w.user)
		k.compareRights(c, w.user)
		c.close()
	}
	for key, b := range k.boxes {
		for _, c := range b.copies {
			if c.viewer != "" {
				k.compareFlags(key, c, views[c.viewer][key])
			}
		}
	}
	k.checkMoves()
	k.checkListed()
}

// loginAgain waits until the cluster lets a user in.
func (k *killTest) loginAgain(user string) *lineClient {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), patience)
	defer cancel()
	for {
		c, err := k.connect(ctx, user)
		if err == nil {
			return c
		}
		select {
		case <-ctx.Done():
			k.t.Fatalf("%s can't log in again: %v", user, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// killView is what a mailbox shows.
type killView struct {
	validity, next uint64
	id             map[uint64]string
	flags          map[uint64]string
}

var (
	selectCode = regexp.MustCompile(`^\* OK \[(UIDVALIDITY|UIDNEXT) (\d+)\]`)
	fetched    = regexp.MustCompile(`(?s)^\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] \{\d+\}(.*)\)$`)
	subject    = regexp.MustCompile(`^Subject: (\S+)\r\n`)
)

// look reads a mailbox whole, and every message of it.
func (k *killTest) look(c *lineClient, box string) killView {
	k.t.Helper()
	v := killView{id: map[uint64]string{}, flags: map[uint64]string{}}
	for _, line := range k.must(c.ok("EXAMINE %s", box)) {
		if m := selectCode.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseUint(m[2], 10, 32)
			*map[string]*uint64{"UIDVALIDITY": &v.validity, "UIDNEXT": &v.next}[m[1]] = n
		}
	}
	for _, line := range k.must(c.ok("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")) {
		if !strings.Contains(line, " FETCH ") {
			continue
		}
		m := fetched.FindStringSubmatch(line)
		if m == nil {
			k.t.Fatalf("%s: unreadable %.200q", box, line)
		}
		uid, _ := strconv.ParseUint(m[1], 10, 32)
		s := subject.FindStringSubmatch(m[3])
		if s == nil || m[3] != killMessage(s[1]) {
			k.t.Errorf("%s: UID %d has another body: %.200q", box, uid, m[3])
			continue
		}
		v.id[uid], v.flags[uid] = s[1], m[2]
	}
	return v
}

// compare: what was acknowledged is there, and nothing else but what may be.
func (k *killTest) compare(key string, v killView) {
	k.t.Helper()
	b := k.boxes[key]
	k.check(b.sawValidity(v.validity))
	if v.next < b.next {
		k.t.Errorf("%s: UIDNEXT fell from %d to %d", key, b.next, v.next)
	}
	b.next = v.next
	for uid, id := range v.id {
		if uid >= v.next {
			k.t.Errorf("%s: UID %d, but UIDNEXT %d", key, uid, v.next)
		}
		if b.copies[uid] == nil {
			if b.mayCome[id]--; b.mayCome[id] < 0 {
				k.t.Errorf("%s: nobody put %s there as UID %d: refused, or twice", key, id, uid)
			}
		}
		if err := b.saw(uid, id); err != nil {
			k.t.Errorf("%s: %v", key, err)
		}
		if b.copies[uid].gone {
			k.t.Errorf("%s: UID %d (%s) is back", key, uid, id)
		}
	}
	for uid, c := range b.copies {
		if _, there := v.id[uid]; there || c.gone {
			continue
		}
		if !c.maybe {
			k.t.Errorf("%s: UID %d (%s) is lost", key, uid, c.id)
		}
		c.gone = true
	}
}

func (k *killTest) compareFlags(key string, c *killCopy, v killView) {
	k.t.Helper()
	have, there := v.flags[c.uid]
	if !there {
		return
	}
	for flag, on := range c.flags {
		if slices.Contains(strings.Fields(have), flag) != on {
			k.t.Errorf("%s: UID %d has (%s) for %s, but %s is known to be %v", key, c.uid, have, c.viewer, flag, on)
		}
	}
}

var listed = regexp.MustCompile(`^\* LIST \(([^)]*)\) "/" (\S+)$`)

// names are the mailboxes of a pattern, without names that are only parents.
func (k *killTest) names(c *lineClient, pattern string) map[string]bool {
	k.t.Helper()
	names := map[string]bool{}
	for _, line := range k.must(c.ok(`LIST "" %s`, pattern)) {
		if m := listed.FindStringSubmatch(line); m != nil && !strings.Contains(m[1], `\Noselect`) {
			names[m[2]] = true
		}
	}
	return names
}

// compareNames: mailboxes whose CREATE was acknowledged are there.
func (k *killTest) compareNames(c *lineClient, owner string) {
	k.t.Helper()
	there := k.names(c, "*")
	for key, is := range k.made {
		of, name, _ := strings.Cut(key, " ")
		if of == owner && is != unknown && there[name] != (is == acknowledged) {
			k.t.Errorf("mailbox %s is listed: %v, though its outcome was %d", key, there[name], is)
		}
	}
}

var someone9 = regexp.MustCompile(` someone9 ("[a-z]*"|[a-z]+)`)

func (k *killTest) compareRights(c *lineClient, owner string) {
	k.t.Helper()
	key := boxKey(owner, "Kept")
	rights := ""
	for _, line := range k.must(c.ok("GETACL Kept")) {
		if m := someone9.FindStringSubmatch(line); m != nil {
			rights = strings.Trim(m[1], `"`)
		}
	}
	if !k.rights[key][rights] {
		k.t.Errorf("someone9 has %q on %s, not one of %q", rights, key, slices.Sorted(maps.Keys(k.rights[key])))
	}
}

// checkMoves: a message whose MOVE was cut off is in one of the two places, and
// not in both if one transaction could do it. Since the command may have ended
// between two looks, a second look decides.
func (k *killTest) checkMoves() {
	k.t.Helper()
	for _, m := range k.moves {
		source, target := k.boxes[m.from].copies[m.uid], k.boxes[m.to]
		arrived := func() bool { return target.ever(m.id) > m.had }
		if source.gone && !arrived() {
			k.lookAgain(m.to)
			if !arrived() {
				k.t.Errorf("%s left %s for %s and is in neither", m.id, m.from, m.to)
			}
		}
		if arrived() && !source.gone && m.exact && m.oneOwner() {
			k.lookAgain(m.from)
			if !source.gone {
				k.t.Errorf("%s was moved from %s to %s and is in both", m.id, m.from, m.to)
			}
		}
	}
}

func (k *killTest) lookAgain(key string) {
	k.t.Helper()
	owner, box, _ := strings.Cut(key, " ")
	c := k.loginAgain(owner)
	defer c.close()
	k.compare(key, k.look(c, box))
}

// checkListed waits until someone9 is shown what the rights say: the sharing
// index catches up with what was cut off.
func (k *killTest) checkListed() {
	k.t.Helper()
	c := k.loginAgain("someone9")
	defer c.close()
	var wrong error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		shown := k.names(c, "shared/*")
		wrong = nil
		for key, allowed := range k.rights {
			name := "shared/" + strings.Replace(key, " ", "/", 1)
			if len(allowed) == 1 && shown[name] == allowed[""] {
				wrong = errors.Join(wrong, fmt.Errorf("someone9 is shown %s: %v, with rights %q", name, shown[name], slices.Collect(maps.Keys(allowed))))
			}
		}
		if wrong == nil {
			return
		}
	}
	k.t.Error(wrong)
}

func (k *killTest) count() (n int) {
	for _, b := range k.boxes {
		n += b.count()
	}
	return n
}
