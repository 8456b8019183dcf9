package namespace

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// A MOVE between two homes is a copy and a removal, and whatever breaks in
// between leaves the messages in both, never in none. So that they don't stay in
// both, the user's own mail, which is always at hand, keeps what is to be done
// (an intent) from before the copy until after the removal. A copy has the
// EMAILID of its source and a UID that the target had not given before: by these
// it is found again, and what was begun is finished when one of the two
// mailboxes is opened or asked for news. What was not copied stays where it is.
//
// Homes without EMAILID (other servers) have no intents: there both may stay.

// intentPrefix begins the names of the annotations that intents are. Clients
// don't get to see them.
const intentPrefix = "/private/vendor/roost/move/"

// intent is a MOVE under way. Names are those of the tree.
type intent struct {
	From         string
	FromValidity uint32
	UIDs         string
	To           string
	ToValidity   uint32
	Next         imap.UID // of To, before the copy
	Begun        time.Time

	id string
}

// Moves knows the moves that run in this process, which nobody else may finish.
// As one process has all sessions of a user, others that are found were
// interrupted. It is safe for concurrent use.
type Moves struct {
	mu      sync.Mutex // guards what follows
	running map[string]bool
	left    map[string]bool // users who have moves that were interrupted
}

// NewMoves makes a Moves of none.
func NewMoves() *Moves { return &Moves{running: map[string]bool{}, left: map[string]bool{}} }

// claim takes a move, unless it runs.
func (m *Moves) claim(id string) (ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running[id] {
		return false
	}
	m.running[id] = true
	return true
}

func (m *Moves) end(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.running, id)
}

// leave notes that a user has moves to be finished, or none.
func (m *Moves) leave(user string, some bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if some {
		m.left[user] = true
	} else {
		delete(m.left, user)
	}
}

func (m *Moves) hasLeft(user string) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left[user]
}

// moveTo is a MOVE to another home.
func (m *selected) moveTo(ctx context.Context, uids imap.UIDSet, to place, dest string) (imap.CopyData, error) {
	if err := m.canRemove(ctx); err != nil {
		return imap.CopyData{}, err
	}
	in := m.intend(ctx, uids, to, dest)
	if in != nil {
		defer m.tree.cfg.Moves.end(in.id)
	}
	data, copied, err := mailbox.Transfer(ctx, m.Mailbox, uids, to.account, to.name, imap.AllClasses)
	if err == nil {
		if err = mailbox.Remove(ctx, m.Mailbox, copied); err != nil {
			err = stillInBoth(in, err)
		}
	}
	if err == nil || imap.CodeOf(err) != imap.CodeUnavailable {
		m.tree.forget(context.WithoutCancel(ctx), in)
	} else if in != nil {
		m.tree.cfg.Moves.leave(m.tree.cfg.User, true)
		m.tree.finishAt = time.Now().Add(finishSoon)
	}
	if err != nil {
		return imap.CopyData{}, err
	}
	return data, nil
}

// stillInBoth tells of messages that were copied and not removed.
func stillInBoth(in *intent, cause error) error {
	text := "The messages were copied, but could not be removed: they are in both mailboxes"
	if in != nil {
		text = "The messages were copied, but could not be removed yet: they are in both mailboxes until that can be done"
	}
	return imap.Wrap(imap.CodeOf(cause), text, cause)
}

// intend writes down what is to be done. There is nothing to write (nil) where it
// could not be told later whether it was done.
func (m *selected) intend(ctx context.Context, uids imap.UIDSet, to place, dest string) *intent {
	from := m.Info()
	if m.tree.cfg.Moves == nil || from.MailboxID == "" {
		return nil
	}
	status, err := to.account.Status(ctx, to.name, imap.StatusUIDNext|imap.StatusUIDValidity|imap.StatusMailboxID)
	if err != nil || status.MailboxID == "" {
		return nil // the copy says why
	}
	in := &intent{
		From: m.name, FromValidity: from.UIDValidity, UIDs: uids.String(),
		To: dest, ToValidity: status.UIDValidity, Next: status.UIDNext, Begun: time.Now(),
		id: strings.ToLower(rand.Text()),
	}
	m.tree.cfg.Moves.claim(in.id)
	value, err := json.Marshal(in)
	if err == nil {
		err = m.tree.cfg.Own.SetMetadata(ctx, "", []imap.MetadataEntry{{Name: intentPrefix + in.id, Value: value}})
	}
	if err != nil {
		m.tree.cfg.Moves.end(in.id)
		m.tree.log().Warn("a move can't be written down: if it is interrupted, messages stay in both mailboxes",
			"user", m.tree.cfg.User, "from", in.From, "to", dest, "error", err)
		return nil
	}
	return in
}

// forget removes an intent. One that stays is looked at again, in vain.
func (t *Tree) forget(ctx context.Context, in *intent) {
	if in == nil {
		return
	}
	if err := t.cfg.Own.SetMetadata(ctx, "", []imap.MetadataEntry{{Name: intentPrefix + in.id}}); err != nil {
		t.log().Warn("what was written down of a move can't be removed", "user", t.cfg.User, "from", in.From, "to", in.To, "error", err)
	}
}

// intents are those that name a mailbox.
func (t *Tree) intents(ctx context.Context, name string) []*intent {
	if t.cfg.Moves == nil {
		return nil
	}
	q := &imap.MetadataQuery{Names: []string{strings.TrimSuffix(intentPrefix, "/")}, Depth: imap.MetadataDepthAll, MaxSize: -1}
	found, err := t.cfg.Own.GetMetadata(ctx, "", q)
	if err != nil {
		t.log().Warn("moves that were interrupted can't be read", "user", t.cfg.User, "error", err)
	}
	t.cfg.Moves.leave(t.cfg.User, err == nil && len(found.Entries) > 0)
	var all []*intent
	for _, e := range found.Entries {
		in := &intent{id: strings.TrimPrefix(e.Name, intentPrefix)}
		if e.Value != nil && json.Unmarshal(e.Value, in) == nil && (in.From == name || in.To == name) {
			all = append(all, in)
		}
	}
	return all
}

// The bounds of finishing what was interrupted: it must not keep a client from
// other mail, and where it fails it is not tried again at once.
const (
	finishTime  = 5 * time.Second
	finishPause = 10 * time.Second
	finishSoon  = 2 * time.Second
)

// finishMoves finishes the moves that were interrupted from or to a mailbox, or
// leaves them for the next time. open is the mailbox if the session has it open.
func (t *Tree) finishMoves(ctx context.Context, name string, open *selected) {
	if time.Now().Before(t.finishAt) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	for _, in := range t.intents(ctx, name) {
		if !t.cfg.Moves.claim(in.id) {
			continue
		}
		removed, done, err := t.finish(ctx, in, open)
		t.cfg.Moves.end(in.id)
		log := t.log().With("user", t.cfg.User, "from", in.From, "to", in.To, "uids", in.UIDs, "begun", in.Begun)
		switch {
		case err != nil:
			log.Warn("a move that was interrupted can't be finished yet", "error", err)
			t.finishAt = time.Now().Add(finishPause)
		case done:
			log.Info("a move that was interrupted is finished", "removed", removed.String())
		}
	}
}

// settled is how long after its beginning a copy may still arrive.
const settled = 2 * time.Minute

// finish removes the sources that were copied. It is done when none can be
// copied any more.
func (t *Tree) finish(ctx context.Context, in *intent, open *selected) (removed imap.UIDSet, done bool, err error) {
	from, err := t.reopen(ctx, in.From, in.FromValidity, open, false)
	if from == nil {
		return nil, t.over(ctx, in, err), err
	}
	defer from.close()
	set, err := imap.ParseNumSet(in.UIDs)
	if err != nil {
		return nil, t.over(ctx, in, nil), nil
	}
	sources, err := emailIDs(ctx, from, set.Resolve(0))
	if err != nil {
		return nil, false, err
	}
	to, err := t.reopen(ctx, in.To, in.ToValidity, nil, true)
	if to == nil {
		return nil, t.over(ctx, in, err), err
	}
	defer to.close()
	copies, err := emailIDs(ctx, to, imap.UIDRange(in.Next, 1<<32-1))
	if err != nil {
		return nil, false, err
	}
	if removed = copied(sources, copies); !removed.Empty() {
		err = mailbox.Remove(ctx, from, removed)
	}
	if err != nil || removed.Len() < len(sources) && time.Since(in.Begun) < settled {
		return removed, false, err
	}
	return removed, t.over(ctx, in, nil), nil
}

// over forgets an intent of which nothing can be done any more.
func (t *Tree) over(ctx context.Context, in *intent, err error) bool {
	if err == nil {
		t.forget(ctx, in)
	}
	return err == nil
}

// reopened is a mailbox of an intent.
type reopened struct {
	mailbox.Mailbox
	close func()
}

// reopen opens a mailbox of an intent, which may be open already. It is nil,
// without an error, if it is another one now.
func (t *Tree) reopen(ctx context.Context, name string, validity uint32, open *selected, readOnly bool) (*reopened, error) {
	if open != nil && open.name == name && !readOnly {
		if open.Info().UIDValidity != validity || open.readOnly {
			return nil, nil
		}
		return &reopened{open.Mailbox, func() {}}, nil
	}
	p, err := t.find(name)
	if err != nil {
		return nil, nil
	}
	m, err := p.account.Open(ctx, p.name, readOnly)
	switch code := imap.CodeOf(err); {
	case code == imap.CodeNonExistent, code == imap.CodeNoPerm:
		return nil, nil
	case err != nil:
		return nil, err
	case m.Info().UIDValidity != validity:
		return nil, m.Close()
	}
	return &reopened{m, func() { _ = m.Close() }}, nil
}

// emailID is a message and what it is a copy of.
type emailID struct {
	uid imap.UID
	id  imap.ObjectID
}

func emailIDs(ctx context.Context, m mailbox.Mailbox, uids imap.UIDSet) (all []emailID, err error) {
	err = m.Fetch(ctx, uids, &imap.FetchItems{EmailID: true}, func(m *mailbox.Message) error {
		if m.EmailID != "" {
			all = append(all, emailID{m.UID, m.EmailID})
		}
		return nil
	})
	return all, err
}

// copied are the sources that have a copy. Several that are the same have one each.
func copied(sources, copies []emailID) imap.UIDSet {
	var uids []imap.UID
	for _, s := range sources {
		i := slices.IndexFunc(copies, func(c emailID) bool { return c.id == s.id })
		if i >= 0 {
			copies = slices.Delete(copies, i, i+1)
			uids = append(uids, s.uid)
		}
	}
	return imap.UIDSetOf(uids...)
}
