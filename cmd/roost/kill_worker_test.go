package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// killWorker is a client. Its fields are its goroutine's.
type killWorker struct {
	*killTest
	n     int
	user  string
	names []string // of its mailboxes
	rand  *rand.Rand
	safe  bool // no process on the way to its backend is killed
	c     *lineClient
	box   string // selected
	stale bool   // box has got messages that the session may not know yet
}

func (w *killWorker) run(ctx context.Context) {
	defer func() {
		if w.c != nil {
			w.c.close()
		}
	}()
	for ctx.Err() == nil && !w.t.Failed() {
		if w.c == nil && !w.reconnect(ctx) {
			continue
		}
		w.step()
	}
	if w.safe && w.c != nil {
		w.recover()
	}
}

func (w *killWorker) reconnect(ctx context.Context) bool {
	c, err := w.connect(ctx, w.user)
	if err != nil {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
		return false
	}
	w.c, w.box = c, ""
	return true
}

// recover: a session that lived through it all finds every mailbox again, first
// the one that was selected all the time.
func (w *killWorker) recover() {
	var commands []string
	if w.box != "" {
		commands = append(commands, "UID FETCH 1:* FLAGS")
	}
	for _, box := range w.names {
		commands = append(commands, "STATUS "+box+" (MESSAGES)")
	}
	end := time.Now().Add(patience)
	for len(commands) > 0 {
		_, err := w.c.ok("%s", commands[0])
		switch {
		case err == nil:
			commands = commands[1:]
		case time.Now().After(end):
			w.t.Errorf("%s, whose backend lives, does not find its way back: %v", w.user, err)
			return
		default:
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// notDone are the commands of which a NO says that nothing was done, whatever
// its code, unless it says that it is not known: what would happen twice if a client tried
// again. Of one's own mail where that can't be known the client is not answered but cut off. Of other
// commands a NO [UNAVAILABLE] leaves it open.
var notDone = regexp.MustCompile(`^(APPEND|UID COPY|CREATE) `)

// do gives a command.
func (w *killWorker) do(format string, args ...any) (untagged []string, tagged string, is outcome) {
	text := fmt.Sprintf(format, args...)
	untagged, tagged, err := w.c.command("%s", text)
	switch {
	case err != nil:
		if w.safe && !strings.Contains(strings.Join(untagged, "\n"), "* BYE [UNAVAILABLE] It is unknown") {
			w.t.Errorf("%s, whose backend lives, was cut off in %.60q: %v", w.user, text, err)
		}
		w.c.close()
		w.c = nil
	case strings.HasPrefix(tagged, "OK"):
		is = acknowledged
	case strings.Contains(tagged, "it is unknown whether this was done"):
	case notDone.MatchString(text) || !strings.HasPrefix(tagged, "NO [UNAVAILABLE]"):
		is = refused
	}
	if is == refused && !strings.HasPrefix(tagged, "NO [UNAVAILABLE]") {
		w.t.Errorf("%s: %.60q was answered %q", w.user, text, tagged)
	}
	w.mu.Lock()
	w.done[is]++
	w.mu.Unlock()
	return untagged, tagged, is
}

// step does one thing.
func (w *killWorker) step() {
	box, to := w.names[w.rand.IntN(len(w.names))], w.names[w.rand.IntN(len(w.names))]
	switch n := w.rand.IntN(100); {
	case n < 50 && w.crowded(box):
		w.expunge(box)
	case n < 35:
		w.append(box)
	case n < 60:
		w.store(box)
	case n < 70:
		w.transfer("COPY", box, to)
	case n < 80:
		w.transfer("MOVE", box, to)
	case n < 90:
		w.expunge(box)
	case n < 95:
		w.create(box)
	default:
		w.setACL()
	}
}

// crowded bounds what verify has to read.
func (w *killWorker) crowded(box string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.boxes[boxKey(w.user, box)].count() > 100
}

// killMessage is a message that its id decides, so that a torn one shows.
func killMessage(id string) string {
	h := fnv.New64a()
	h.Write([]byte(id))
	r := rand.New(rand.NewPCG(h.Sum64(), 0))
	size := r.IntN(3000)
	if r.IntN(10) == 0 {
		size *= 100
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Subject: %s\r\n\r\n", id)
	for line := 0; b.Len() < size; line++ {
		fmt.Fprintf(&b, "%s %d %x\r\n", id, line, r.Uint64())
	}
	return b.String()
}

func (w *killWorker) append(box string) {
	key := boxKey(w.user, box)
	w.mu.Lock()
	w.serial++
	id := fmt.Sprintf("m%d.%d", w.n, w.serial)
	w.boxes[key].mayCome[id]++
	w.mu.Unlock()
	text := killMessage(id)
	_, tagged, is := w.do("APPEND %s (\\Answered) {%d+}\r\n%s", box, len(text), text)
	w.settle(is, tagged, "APPENDUID", key, id, map[string]bool{`\Answered`: true, `\Flagged`: false})
}

var uidCode = regexp.MustCompile(`\[(APPENDUID|COPYUID) (\d+) (?:\S+ )?(\d+)\]`)

// settle notes what became of a message that a command was to bring into a
// mailbox.
func (w *killWorker) settle(is outcome, said, code, key, id string, flags map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if is == unknown {
		return
	}
	b := w.boxes[key]
	b.mayCome[id]--
	if is == refused {
		return
	}
	m := uidCode.FindStringSubmatch(said)
	if m == nil || m[1] != code {
		w.t.Errorf("%s: no %s in %q", w.user, code, said)
		return
	}
	validity, _ := strconv.ParseUint(m[2], 10, 32)
	uid, _ := strconv.ParseUint(m[3], 10, 32)
	w.check(b.sawValidity(validity))
	w.check(b.saw(uid, id))
	c := b.copies[uid]
	c.viewer, c.flags = w.user, flags
	if key == boxKey(w.user, w.box) {
		w.stale = true
	}
}

// take selects a mailbox and gives a message of the worker's in it.
func (w *killWorker) take(box string) *killCopy {
	command := ""
	switch {
	case w.box != box, w.stale && strings.HasPrefix(box, "shared/"):
		command = "SELECT " + box // NOOP is OK though the other backend can't be reached
	case w.stale:
		command = "NOOP"
	}
	if command != "" {
		w.box = ""
		if _, _, is := w.do("%s", command); is != acknowledged {
			return nil
		}
		w.box, w.stale = box, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var mine []*killCopy
	for _, c := range w.boxes[boxKey(w.user, box)].copies {
		if !c.gone && !c.maybe && c.viewer == w.user && !w.frozen[c.id] {
			mine = append(mine, c)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	return mine[w.rand.IntN(len(mine))]
}

var killFlags = []string{`\Flagged`, `\Answered`, `\Seen`, `$Label`}

func (w *killWorker) store(box string) {
	c := w.take(box)
	if c == nil {
		return
	}
	flag, on := killFlags[w.rand.IntN(len(killFlags))], w.rand.IntN(3) > 0
	sign := map[bool]string{true: "+", false: "-"}[on]
	_, _, is := w.do("UID STORE %d %sFLAGS (%s)", c.uid, sign, flag)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch is {
	case acknowledged:
		c.flags[flag] = on
	case unknown:
		c.viewer = ""
	}
}

func (w *killWorker) expunge(box string) {
	c := w.take(box)
	if c == nil {
		return
	}
	_, _, marked := w.do(`UID STORE %d +FLAGS.SILENT (\Deleted)`, c.uid)
	is := refused
	if marked == acknowledged {
		_, _, is = w.do("UID EXPUNGE %d", c.uid)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c.gone, c.maybe = is == acknowledged, is == unknown
	if marked != acknowledged {
		c.viewer = ""
	}
}

// transfer copies or moves a message to any mailbox, be it of another owner.
func (w *killWorker) transfer(verb, box, to string) {
	c := w.take(box)
	if c == nil {
		return
	}
	m := killMove{id: c.id, from: boxKey(w.user, box), to: boxKey(w.user, to), uid: c.uid}
	w.mu.Lock()
	b := w.boxes[m.to]
	b.mayCome[c.id]++
	m.had, m.exact = b.ever(c.id), b.mayCome[c.id] == 1
	flags := maps.Clone(c.flags)
	w.mu.Unlock()
	untagged, tagged, is := w.do("UID %s %d %s", verb, c.uid, to)
	w.settle(is, strings.Join(append(untagged, tagged), "\n"), "COPYUID", m.to, c.id, flags)
	if verb == "COPY" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c.gone, c.maybe = is == acknowledged, is == unknown
	if is == unknown {
		w.frozen[c.id] = true
		w.moves = append(w.moves, m)
	}
}

// create makes a mailbox below another, until there are enough of them.
func (w *killWorker) create(parent string) {
	w.mu.Lock()
	w.serial++
	name, enough := fmt.Sprintf("%s/New%d", parent, w.serial), len(w.made) > 200
	w.mu.Unlock()
	if enough {
		return
	}
	_, _, is := w.do("CREATE %s", name)
	w.mu.Lock()
	w.made[boxKey(w.user, name)] = is
	w.mu.Unlock()
}

// setACL changes what someone9 may do with a mailbox of one's own.
func (w *killWorker) setACL() {
	rights := []string{"l", "lr", "lrs", "lrwsi", ""}[w.rand.IntN(5)]
	_, _, is := w.do("SETACL Kept someone9 %q", rights)
	w.mu.Lock()
	defer w.mu.Unlock()
	key := boxKey(w.user, "Kept")
	switch is {
	case acknowledged:
		w.rights[key] = map[string]bool{rights: true}
	case unknown:
		w.rights[key][rights] = true
	}
}
