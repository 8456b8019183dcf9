package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// ACLs are the rights on the mailboxes that a node keeps, and what it knows of others'.
type ACLs interface {
	// Find is where a name of a user's leads. The mailbox need not exist, nor its owner.
	Find(ctx context.Context, user, name string) (*Box, error)

	// Here says whether this node keeps the owner's mail.
	Here(owner string) bool

	// Entries are those that hold for a mailbox that is here.
	Entries(ctx context.Context, b *Box) (*Entries, error)

	// Change changes the entries of a mailbox that is here: those that are not global.
	Change(ctx context.Context, by Author, b *Box, change func([]mailbox.Entry) ([]mailbox.Entry, error)) error

	// Recalc brings the sharing index into line with the mail of an owner who is here.
	Recalc(ctx context.Context, owner string) error

	// Indexed is what the sharing index says of a mailbox of another owner: whether it
	// knows the owner's mailboxes one by one, and if so what the user may do with this one.
	Indexed(ctx context.Context, b *Box) (Indexed, error)

	// Answer is what a session of the user is answered that asks for its rights.
	Answer(ctx context.Context, b *Box) (imap.Rights, error)
}

// ChangesRights is what operations change that end in ACLs.Change.
const ChangesRights = "rights"

// Author is who changes something, and by which operation.
type Author struct {
	Caller
	Operation string
}

// Box is a mailbox as a user reaches it.
type Box struct {
	User      string // who asks
	Name      string // what the user calls it
	Namespace string // the prefix of the namespace that the name is in
	Owner     string
	Mailbox   string       // what the owner calls it
	Who       acl.Identity // as whom the user is judged
	OwnerIs   string       // why there is no such owner; empty: there is
}

// Entries are what rights on a mailbox are worked out from.
type Entries struct {
	List   []mailbox.Entry
	Source acl.Source
	Off    bool // rights are not checked at all
}

// Indexed is what the sharing index says of a mailbox.
type Indexed struct {
	Off    bool        // there is none
	Shares bool        // the owner shares something with the user
	Exact  bool        // and it is known which mailboxes
	Rights imap.Rights // the user's on this one, if that is known
}

var (
	aclUserArg    = Arg{Name: "user", Type: User, Flag: true, Short: "u", Required: true, Help: "whose name for the mailbox it is, and whose rights are meant"}
	aclBoxArg     = Arg{Name: "mailbox", Type: Mailbox, Required: true, Help: "the mailbox, as the user calls it: others' by shared/OWNER/NAME"}
	aclIDArg      = Arg{Name: "id", Type: Identifier, Required: true, Help: "anyone, authenticated, owner, user=NAME, group=NAME or group-override=NAME"}
	aclExpiresArg = Arg{Name: "expires", Type: Date, Flag: true, Help: "when the rights that are granted end: a day as 2026-12-24, with whose beginning in UTC, an instant as 2026-12-24T18:00:00Z, or in how long, as 30d or 12h; never: they don't. Without it an entry keeps its date"}
	aclHereArg    = Arg{Name: "here", Type: Bool, Flag: true, Help: "only at this node, whoever else has the mail"}
)

const aclLong = "It is done by the backend that has the owner's mail open or may open it; with a coordinator any node asks that one, if it has admin_listen. " +
	"Without one, call the backend that serves the owner."

func aclOperations() []Operation {
	rights := Arg{Name: "rights", Rest: true, Required: true, Help: "by their long names: lookup read write write-seen write-deleted insert post expunge create delete admin, all; with - before it a right is denied. Flags stand before the mailbox"}
	change := func(name, help string, how imap.ACLChange, more ...Arg) Operation {
		return Operation{
			Name: "acl " + name, Args: append([]Arg{aclBoxArg, aclIDArg, rights, aclUserArg, tagFlag, aclHereArg}, more...), Help: help, Long: aclLong,
			Changes: ChangesRights, New: newResult[ACL], run: aclChange(how),
		}
	}
	return []Operation{
		{
			Name: "acl get", Args: []Arg{aclBoxArg, aclUserArg, {Name: "match", Type: Bool, Flag: true, Short: "m", Help: "only the entries that matter to the user"}, tagFlag, aclHereArg},
			Help: "Show the entries that hold for a mailbox", Long: aclLong, New: newResult[ACL], run: aclGet,
		},
		{
			Name: "acl rights", Args: []Arg{aclBoxArg, aclUserArg, tagFlag, aclHereArg},
			Help: "Show what a user may do with a mailbox", Long: aclLong, New: newResult[ACLRights], run: aclRights,
		},
		change("set", "Give an identifier these rights on a mailbox, and no others", imap.ACLReplace, aclExpiresArg),
		change("add", "Give an identifier more rights on a mailbox", imap.ACLAdd),
		change("remove", "Take rights on a mailbox from an identifier", imap.ACLRemove),
		{
			Name: "acl delete", Args: []Arg{aclBoxArg, aclIDArg, aclUserArg, tagFlag, aclHereArg},
			Help: "Delete an identifier's entries of a mailbox", Long: aclLong, Changes: ChangesRights, New: newResult[ACL], run: aclDelete,
		},
		{
			Name: "acl export", Args: []Arg{aclBoxArg, aclUserArg, tagFlag, aclHereArg},
			Help: "Show a mailbox's entries as a dovecot-acl file", Long: "Global entries are not among them. " + aclLong, New: newResult[ACLFile], run: aclExport,
		},
		{
			Name: "acl import", Args: []Arg{aclBoxArg, {Name: "file", Type: File, Flag: true, Short: "f", Required: true, Help: "a dovecot-acl file, - for standard input"}, aclUserArg, tagFlag, aclHereArg},
			Help: "Replace a mailbox's entries by those of a dovecot-acl file", Long: "A file with a line that can't be read is refused, with the line's number. " + aclLong,
			Changes: ChangesRights, New: newResult[ACL], run: aclImport,
		},
		{
			Name: "acl recalc", Args: []Arg{
				{Name: "user", Type: User, Flag: true, Short: "u", Help: "this owner"},
				{Name: "all-users", Type: Bool, Flag: true, Short: "A", Help: "all owners that the userdb lists"},
				tagFlag, aclHereArg, workArg,
			},
			Help: "Bring the sharing index into line with owners' mailboxes", Long: "With -A each backend of a cluster sees to the owners that it serves.",
			Changes: "the sharing index", Slow: true, New: newResult[ACLRecalc], run: aclRecalc,
		},
		{
			Name: "acl debug", Args: []Arg{aclBoxArg, aclUserArg, tagFlag, aclHereArg},
			Help: "Say step by step what a user may do with a mailbox, and why", New: newResult[ACLExplanation], run: aclExplain,
		},
		{
			Name: "acl explain", Args: []Arg{userArg, aclBoxArg, tagFlag, aclHereArg},
			Help: "Say step by step what a user may do with a mailbox, and why",
			Long: "Namespace, owner, sharing index, backend, the entries in the order in which they are heard, and what a session of the user is answered. It changes nothing.",
			New:  newResult[ACLExplanation], run: aclExplain,
		},
	}
}

// box is the mailbox that the arguments name.
func (c *call) box(ctx context.Context) (*Box, error) {
	user, err := c.user("user")
	if err != nil {
		return nil, err
	}
	return c.ACLs.Find(ctx, user, c.args.word("mailbox"))
}

// NoBox is the error for a mailbox that does not exist.
func NoBox(name string) error {
	return imap.Wrap(imap.CodeNonExistent, "mailbox "+name+" doesn't exist", errNoBox)
}

// atOwner does what do does at the node that has the mail.
func (c *call) atOwner(ctx context.Context, do func(b *Box) (Result, error)) (Result, error) {
	if c.ACLs == nil {
		user, err := c.user("user")
		if err != nil {
			return nil, err
		}
		return c.askHolder(ctx, user, c.op, c.args) // who knows what the name means
	}
	b, err := c.box(ctx)
	if err != nil {
		return nil, err
	}
	if b.OwnerIs != "" {
		return nil, NoBox(b.Name)
	}
	if !c.ACLs.Here(b.Owner) && !c.args.is("here") {
		return c.askHolder(ctx, b.Owner, c.op, c.here())
	}
	res, err := do(b)
	if imap.CodeOf(err) == imap.CodeNonExistent {
		err = NoBox(b.Name)
	}
	return res, err
}

// here are the arguments for a node that is to ask nobody else.
func (c *call) here() Args {
	args := Args{}
	for name, text := range c.args {
		args[name] = text
	}
	args["here"] = "true"
	return args
}

// alone is the error where no mail is kept, and other nodes are not asked. call is who knows.
func (c *call) alone(call string) error {
	return imap.Errorf(imap.CodeCannot, "%s: no mail is kept here, and without a coordinator nodes don't ask each other: call %s", c.op.Name, call)
}

// askHolder has the backend answer that serves a user.
func (c *call) askHolder(ctx context.Context, user string, op *Operation, args Args) (Result, error) {
	cl, ok := c.Cluster.(Coordinated)
	if !ok {
		return nil, c.alone("the backend that serves " + user)
	}
	e, err := cl.Explain(ctx, user, c.args.word("tag"))
	if err != nil {
		return nil, err
	}
	if !e.Served {
		return nil, imap.Errorf(imap.CodeUnavailable, "%s is served by nobody now, so nobody can answer: %s", user, e.Why)
	}
	nodes, err := cl.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	name := e.Held.Backend
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == name })
	switch {
	case i < 0:
		return nil, imap.Errorf(imap.CodeUnavailable, "backend %s, which serves %s, is not running; try again", name, user)
	case name == c.Node:
		return nil, imap.Errorf(imap.CodeUnavailable, "this is backend %s, which serves %s, but it has no lease now, or has just begun or ended to serve the user: its log says which; try again", name, user)
	}
	ctx, cancel := context.WithTimeout(ctx, peerTime)
	defer cancel()
	res, err := c.ask(ctx, nodes[i], op, args)
	if why, is := errors.AsType[Unasked](err); is {
		return nil, imap.Errorf(imap.CodeCannot, "backend %s serves %s, and can't be asked from here, as %s: say it there", name, user, why)
	}
	c.asked = true
	if err == nil || imap.CodeOf(err) != imap.CodeServerBug && imap.CodeOf(err) != imap.CodeUnavailable {
		return res, err
	}
	return nil, imap.Wrap(imap.CodeUnavailable, fmt.Sprintf("backend %s, which serves %s, does not answer: %s", name, user, reason(err)), err)
}

// ACL is a mailbox's entries.
type ACL struct {
	Owner   string     `json:"owner"`
	Mailbox string     `json:"mailbox"` // as the owner calls it
	Source  string     `json:"source"`  // where the entries come from that are not global: mailbox, above, inbox or none
	Entries []ACLEntry `json:"entries"`
	Off     bool       `json:"off,omitempty"` // rights are not checked
}

// ACLEntry is what holds for an identifier.
type ACLEntry struct {
	ID     string   `json:"id"`
	Global bool     `json:"global,omitempty"`
	Rights []string `json:"rights"`           // what is granted
	Denied []string `json:"denied,omitempty"` // what is taken away
	Grants bool     `json:"grants,omitempty"` // there is an entry that grants, if only nothing

	Expires string `json:"expires,omitempty"` // when what is granted ends; absent: never
}

// Table has doveadm's columns, and one for dates if there are any.
func (r *ACL) Table() Table {
	t := Table{Head: []string{"ID", "Global", "Rights"}}
	dated := slices.ContainsFunc(r.Entries, func(e ACLEntry) bool { return e.Expires != "" })
	if dated {
		t.Head = append(t.Head, "Expires")
	}
	for _, e := range r.Entries {
		global := ""
		if e.Global {
			global = "global"
		}
		words := slices.Clone(e.Rights)
		slices.Sort(words)
		for _, denied := range slices.Sorted(slices.Values(e.Denied)) {
			words = append(words, "-"+denied)
		}
		row := []string{e.ID, global, strings.Join(words, " ")}
		if dated {
			row = append(row, cmp.Or(e.Expires, never))
		}
		t.Rows = append(t.Rows, row)
	}
	if r.Off {
		t.Foot = []string{aclOff}
	}
	return t
}

const aclOff = "Rights are not checked: the plugin acl is off, and whoever gets in may do everything"

func newACL(b *Box, e *Entries, list []mailbox.Entry) *ACL {
	r := &ACL{Owner: b.Owner, Mailbox: b.Mailbox, Source: cmp.Or(string(e.Source), "none"), Entries: []ACLEntry{}, Off: e.Off}
	for _, e := range acl.Sorted(list) {
		n := len(r.Entries)
		if n == 0 || r.Entries[n-1].ID != e.Identifier || r.Entries[n-1].Global != e.Global {
			r.Entries = append(r.Entries, ACLEntry{ID: e.Identifier, Global: e.Global, Rights: []string{}})
			n++
		}
		shown := &r.Entries[n-1]
		if e.Negative {
			shown.Denied = append(shown.Denied, rightWords(e.Rights)...)
			continue
		}
		shown.Rights, shown.Grants = append(shown.Rights, rightWords(e.Rights)...), true
		shown.Expires = dateOf(e)
	}
	return r
}

// entries are those of a result, for judging by them again.
func (r *ACL) entries() (list []mailbox.Entry) {
	for _, e := range r.Entries {
		if e.Grants {
			granted := mailbox.Entry{Identifier: e.ID, Global: e.Global, Rights: rightsOf(e.Rights)}
			granted.Expires, _ = acl.ParseDate(e.Expires)
			list = append(list, granted)
		}
		if len(e.Denied) > 0 {
			list = append(list, mailbox.Entry{Identifier: e.ID, Global: e.Global, Rights: rightsOf(e.Denied), Negative: true})
		}
	}
	return list
}

// dateOf is when an entry ends, empty if it does not.
func dateOf(e mailbox.Entry) string {
	if e.Expires == 0 {
		return ""
	}
	return acl.FormatDate(e.Expires)
}

func rightWords(r imap.Rights) []string { return strings.Fields(acl.NamesOf(r)) }

func rightsOf(words []string) (all imap.Rights) {
	for _, word := range words {
		r, _ := acl.RightNamed(word)
		all |= r
	}
	return all
}

func aclGet(ctx context.Context, c *call) (Result, error) {
	return c.atOwner(ctx, func(b *Box) (Result, error) {
		e, err := c.ACLs.Entries(ctx, b)
		if err != nil {
			return nil, err
		}
		list := e.List
		if c.args.is("match") {
			list = acl.Matching(list, b.Who)
		}
		return newACL(b, e, list), nil
	})
}

// ACLRights is what a user may do with a mailbox.
type ACLRights struct {
	User    string   `json:"user"`
	Owner   string   `json:"owner"`
	Mailbox string   `json:"mailbox"`
	Rights  []string `json:"rights"`
}

// Table is doveadm's column.
func (r *ACLRights) Table() Table {
	return Table{Head: []string{"Rights"}, Rows: [][]string{{strings.Join(r.Rights, " ")}}}
}

func aclRights(ctx context.Context, c *call) (Result, error) {
	return c.atOwner(ctx, func(b *Box) (Result, error) {
		e, err := c.ACLs.Entries(ctx, b)
		if err != nil {
			return nil, err
		}
		return &ACLRights{User: b.User, Owner: b.Owner, Mailbox: b.Mailbox, Rights: append([]string{}, rightWords(e.rights(b))...)}, nil
	})
}

func (e *Entries) rights(b *Box) imap.Rights {
	if e.Off {
		return imap.AllRights
	}
	return acl.Rights(e.List, b.Who)
}

// changeACL changes the entries, and shows what they are then.
func (c *call) changeACL(ctx context.Context, change func([]mailbox.Entry) ([]mailbox.Entry, error)) (Result, error) {
	return c.atOwner(ctx, func(b *Box) (Result, error) {
		if err := c.ACLs.Change(ctx, Author{c.who, c.op.Name}, b, change); err != nil {
			return nil, err
		}
		e, err := c.ACLs.Entries(ctx, b)
		if err != nil {
			return nil, err
		}
		return newACL(b, e, e.List), nil
	})
}

func aclChange(how imap.ACLChange) func(context.Context, *call) (Result, error) {
	return func(ctx context.Context, c *call) (Result, error) {
		edit, err := acl.ParseEdit(c.args.word("id"), how, strings.Fields(c.args.word("rights")))
		if err != nil {
			return nil, err
		}
		edit.Identifier = c.normalID(edit.Identifier)
		if edit.Expires, err = expires(c.args.word("expires"), &edit); err != nil {
			return nil, err
		}
		return c.changeACL(ctx, func(entries []mailbox.Entry) ([]mailbox.Entry, error) { return edit.Apply(entries), nil })
	}
}

// expires is the date of an edit, nil if none is given.
func expires(date string, edit *acl.Edit) (*int64, error) {
	switch {
	case date == "":
		return nil, nil
	case date == never:
		return new(int64), nil
	case edit.Identifier == "owner":
		return nil, imap.BadCommand("acl set: the owner's entry can't have a date")
	case edit.Grant == 0:
		return nil, imap.BadCommand("acl set: a date is for rights that are granted, and none is")
	}
	at, err := acl.ParseDate(date)
	return &at, err
}

// normalID has a user's name in its one form.
func (c *call) normalID(id string) string {
	if name, is := strings.CutPrefix(id, "user="); is {
		if normal, err := c.Users.Normalize(name); err == nil {
			return "user=" + normal
		}
	}
	return id
}

func aclDelete(ctx context.Context, c *call) (Result, error) {
	edit, err := acl.ParseEdit(c.args.word("id"), imap.ACLRemove, nil)
	if err != nil {
		return nil, err
	}
	id := c.normalID(edit.Identifier)
	return c.changeACL(ctx, func(entries []mailbox.Entry) ([]mailbox.Entry, error) {
		return acl.Without(acl.Without(entries, id, false), id, true), nil
	})
}

// ACLFile is a dovecot-acl file.
type ACLFile struct {
	Owner   string `json:"owner"`
	Mailbox string `json:"mailbox"`
	Text    string `json:"text"`
}

// Table is the file.
func (r *ACLFile) Table() Table {
	t := Table{}
	for line := range strings.Lines(r.Text) {
		t.Foot = append(t.Foot, strings.TrimSuffix(line, "\n"))
	}
	return t
}

func aclExport(ctx context.Context, c *call) (Result, error) {
	return c.atOwner(ctx, func(b *Box) (Result, error) {
		e, err := c.ACLs.Entries(ctx, b)
		if err != nil {
			return nil, err
		}
		return &ACLFile{Owner: b.Owner, Mailbox: b.Mailbox, Text: acl.FormatFile(e.List)}, nil
	})
}

func aclImport(ctx context.Context, c *call) (Result, error) {
	entries, problems := acl.ParseFile(strings.NewReader(c.args.word("file")))
	if len(problems) > 0 {
		return nil, imap.BadCommand("acl import: the file can't be read as it is: %v", problems[0])
	}
	for i := range entries {
		entries[i].Identifier = c.normalID(entries[i].Identifier)
	}
	entries = acl.Holding(entries, time.Now())
	return c.changeACL(ctx, func([]mailbox.Entry) ([]mailbox.Entry, error) { return entries, nil })
}
