package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// Shares is the sharing index of a node.
type Shares interface {
	// SharedBy is what an owner shares.
	SharedBy(ctx context.Context, owner string) ([]SharedBox, error)

	// SharedWith is what is shared with a user, whose own rights on it are told, with a
	// group, $NAME, or with anyone.
	SharedWith(ctx context.Context, whom string) ([]SharedBox, error)

	// Verify compares the index with the mail of an owner who is here, or if owner is
	// empty of all, and with repair mends it. tell hears of each who was looked at.
	Verify(ctx context.Context, owner string, repair bool, tell func(ShareDrift)) error
}

// SharedBox is a mailbox that an owner shares.
type SharedBox struct {
	Owner   string
	Mailbox string          // empty: it is not known which
	Entries []mailbox.Entry // about those who were asked for
	Rights  imap.Rights     // what they amount to for the user who was asked for
}

// ShareDrift is what is wrong in the index about an owner.
type ShareDrift struct {
	Owner    string `json:"owner"`
	Keys     int    `json:"keys"`               // that are wrong; 0 is right
	Gone     bool   `json:"gone,omitempty"`     // there is no such user any more
	Repaired bool   `json:"repaired,omitempty"` // it was wrong
	Error    string `json:"error,omitempty"`    // why it could not be looked at, or mended
}

// Verdict is a Result that may say that something is wrong.
type Verdict interface {
	Wrong() bool
}

func shareOperations() []Operation {
	return []Operation{
		{
			Name: "share list", Args: []Arg{
				{Name: "from", Type: User, Flag: true, Help: "what this user shares, and with whom"},
				{Name: "to", Type: Text, Flag: true, Help: "what is shared with this user, with a group, as $NAME or group=NAME, or with anyone"},
				aclHereArg,
			},
			Help: "Show what is shared, by the sharing index",
			Long: "The index decides nothing, and no owner is asked: roost acl explain does that. With --to USER the users' groups count, and the last column is what the entries of a mailbox amount to. - is a mailbox that the index does not name: the owner is kept by other software.",
			New:  newResult[ShareList], run: shareList,
		},
		{
			Name: "share verify", Args: []Arg{
				{Name: "repair", Type: Bool, Flag: true, Help: "mend what is wrong"},
				{Name: "user", Type: User, Flag: true, Short: "u", Help: "this owner"},
				{Name: "all-users", Type: Bool, Flag: true, Short: "A", Help: "all owners"},
				tagFlag, aclHereArg, workArg,
			},
			Help:    "Compare the sharing index with owners' mailboxes",
			Long:    "With -A each backend of a cluster sees to the owners that it serves; a backend without a coordinator sees to those whose mail it has opened since it was started. It ends with 1 if something is wrong, and was not mended, with 75 if somebody could not be looked at.",
			Changes: "the sharing index", OnlyWith: "repair", Slow: true, New: newResult[ShareVerify], run: shareVerify,
		},
	}
}

// ShareList is what is shared, an entry for each that counts.
type ShareList struct {
	Shares []Share `json:"shares"`
}

// Share is an entry of a shared mailbox.
type Share struct {
	Owner   string   `json:"owner"`
	Mailbox string   `json:"mailbox,omitempty"` // absent: not known
	ID      string   `json:"id,omitempty"`
	Global  bool     `json:"global,omitempty"`
	Rights  []string `json:"rights,omitempty"`
	Denied  []string `json:"denied,omitempty"`
	Expires string   `json:"expires,omitempty"` // when the entry ends; absent: never
	May     []string `json:"may,omitempty"`     // what the user may do who was asked for, by all entries
}

// Table has a row for each entry, with its date if any has one.
func (r *ShareList) Table() Table {
	t := Table{Head: []string{"Owner", "Mailbox", "ID", "Rights", "May"}}
	dated := slices.ContainsFunc(r.Shares, func(s Share) bool { return s.Expires != "" })
	if dated {
		t.Head = append(t.Head, "Expires")
	}
	for _, s := range r.Shares {
		rights := slices.Clone(s.Rights)
		for _, denied := range s.Denied {
			rights = append(rights, "-"+denied)
		}
		row := []string{s.Owner, dash(s.Mailbox), dash(s.ID), dash(strings.Join(rights, " ")), strings.Join(s.May, " ")}
		if dated {
			row = append(row, cmp.Or(s.Expires, never))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func newShareList(boxes []SharedBox) *ShareList {
	r := &ShareList{Shares: []Share{}}
	for _, b := range boxes {
		if len(b.Entries) == 0 {
			r.Shares = append(r.Shares, Share{Owner: b.Owner, Mailbox: b.Mailbox})
		}
		for _, e := range b.Entries {
			s := Share{Owner: b.Owner, Mailbox: b.Mailbox, ID: e.Identifier, Global: e.Global, Expires: dateOf(e), May: rightWords(b.Rights)}
			if e.Negative {
				s.Denied = rightWords(e.Rights)
			} else {
				s.Rights = rightWords(e.Rights)
			}
			r.Shares = append(r.Shares, s)
		}
	}
	return r
}

func shareList(ctx context.Context, c *call) (Result, error) {
	from, to := c.args.word("from"), c.args.word("to")
	if (from == "") == (to == "") {
		return nil, imap.BadCommand("share list: say --from USER, or --to USER or GROUP")
	}
	if c.Shares == nil {
		return c.askAny(ctx)
	}
	var boxes []SharedBox
	var err error
	switch group, is := strings.CutPrefix(to, "group="); {
	case from != "":
		if from, err = c.user("from"); err == nil {
			boxes, err = c.Shares.SharedBy(ctx, from)
		}
	case is:
		boxes, err = c.Shares.SharedWith(ctx, "$"+group)
	case to[0] == '$' || to == "anyone":
		boxes, err = c.Shares.SharedWith(ctx, to)
	default:
		if to, err = c.user("to"); err == nil {
			boxes, err = c.Shares.SharedWith(ctx, to)
		}
	}
	if err != nil {
		return nil, err
	}
	return newShareList(boxes), nil
}

// askAny has backends answer, one after another until one does.
func (c *call) askAny(ctx context.Context) (answer Result, err error) {
	if _, ok := c.Cluster.(Coordinated); !ok {
		return nil, c.alone("a backend")
	}
	silent, err := c.eachBackend(ctx, c.here(), func(r Result) (more bool) {
		answer = r
		return false
	})
	if err == nil && answer == nil {
		err = noneAnswers(silent)
	}
	return answer, err
}

// ShareVerify is what the index says wrongly.
type ShareVerify struct {
	Owners int          `json:"owners"` // that were looked at
	Keys   int          `json:"keys"`   // that were wrong
	Drifts []ShareDrift `json:"drifts,omitempty"`
	Silent []Silent     `json:"silent,omitempty"` // nodes that did not answer
}

// Missing implements Partial: owners who could not be looked at, and nodes.
func (r *ShareVerify) Missing() []Silent {
	missing := slices.Clone(r.Silent)
	for _, d := range r.Drifts {
		if d.Error != "" {
			missing = append(missing, Silent{d.Owner, d.Error})
		}
	}
	return missing
}

// Wrong implements Verdict.
func (r *ShareVerify) Wrong() bool {
	return slices.ContainsFunc(r.Drifts, func(d ShareDrift) bool { return d.Keys > 0 && !d.Repaired })
}

// Table is a line for each owner about whom something is wrong.
func (r *ShareVerify) Table() Table {
	t := Table{}
	for _, d := range r.Drifts {
		text := d.Owner + ": " + count(d.Keys, "key") + " wrong"
		switch {
		case d.Error != "":
			text = d.Owner + ": not done: " + d.Error
		case d.Repaired:
			text += ", mended"
		}
		if d.Gone {
			text += "; there is no such user any more"
		}
		t.Foot = append(t.Foot, text)
	}
	for _, s := range r.Silent {
		t.Foot = append(t.Foot, s.Node+": "+s.Why)
	}
	verdict := "no key is wrong"
	if r.Keys > 0 {
		verdict = count(r.Keys, "key") + " wrong"
	}
	t.Foot = append(t.Foot, count(r.Owners, "owner")+" looked at, "+verdict)
	return t
}

// add takes in what was found of an owner.
func (r *ShareVerify) add(d ShareDrift) {
	r.Keys += d.Keys
	if d.Keys > 0 || d.Error != "" {
		r.Drifts = append(r.Drifts, d)
	}
	if d.Error == "" {
		r.Owners++
	}
}

func shareVerify(ctx context.Context, c *call) (Result, error) {
	if c.args.is("all-users") == (c.args.word("user") != "") {
		return nil, imap.BadCommand("share verify: say -u USER, or -A")
	}
	user := ""
	if !c.args.is("all-users") {
		var err error
		if user, err = c.user("user"); err != nil {
			return nil, err
		}
		if c.Shares == nil || !c.ACLs.Here(user) && !c.args.is("here") {
			return c.askHolder(ctx, user, c.op, c.here())
		}
	}
	res := &ShareVerify{}
	if c.Shares != nil {
		err := c.Shares.Verify(ctx, user, c.args.is("repair"), func(d ShareDrift) {
			if res.add(d); res.Owners%100 == 0 {
				c.tell(Progress{Doing: fmt.Sprintf("%s looked at, %s wrong", count(res.Owners, "owner"), count(res.Keys, "key"))})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if user != "" || c.args.is("here") {
		return res, nil
	}
	if _, ok := c.Cluster.(Coordinated); ok {
		return res, c.verifyElsewhere(ctx, res)
	}
	if c.Shares == nil {
		return nil, c.alone("the backends")
	}
	return res, nil
}

func (c *call) verifyElsewhere(ctx context.Context, res *ShareVerify) error {
	silent, err := c.eachBackend(ctx, c.here(), func(r Result) (more bool) {
		if r, ok := r.(*ShareVerify); ok {
			res.Owners += r.Owners
			res.Keys += r.Keys
			res.Drifts = append(res.Drifts, r.Drifts...)
			res.Silent = append(res.Silent, r.Silent...)
		}
		return true
	})
	res.Silent = append(res.Silent, silent...)
	return err
}
