package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
)

// ACLExplanation is what a user may do with a mailbox, and why.
type ACLExplanation struct {
	User      string   `json:"user"`
	Name      string   `json:"name"`      // what the user calls the mailbox
	Namespace string   `json:"namespace"` // prefix
	Owner     string   `json:"owner"`
	Mailbox   string   `json:"mailbox"` // what the owner calls it
	Groups    []string `json:"groups,omitempty"`

	Index   *ACLIndex    `json:"index,omitempty"`   // of another owner's mailbox
	Place   *Explanation `json:"place,omitempty"`   // where the owner's mail is; absent without a coordinator
	Source  string       `json:"source,omitempty"`  // where the entries come from that are not global
	Entries []ACLLine    `json:"entries,omitempty"` // in the order in which they are heard
	Rights  []string     `json:"rights"`            // worked out from the entries
	Unknown string       `json:"unknown,omitempty"` // why the entries are not known
	Answer  ACLAnswer    `json:"answer"`
	Steps   []string     `json:"steps"` // all that in words
}

// ACLIndex is what the sharing index says.
type ACLIndex struct {
	Off    bool     `json:"off,omitempty"` // there is none
	Shares bool     `json:"shares"`        // the owner shares something with the user
	Exact  bool     `json:"exact"`         // and it is known which mailboxes
	Rights []string `json:"rights"`        // the user's on this one
	Error  string   `json:"error,omitempty"`
}

// ACLLine is an entry and what it does.
type ACLLine struct {
	ID       string   `json:"id"`
	Negative bool     `json:"negative,omitempty"`
	Global   bool     `json:"global,omitempty"`
	Rights   []string `json:"rights"`
	Expires  string   `json:"expires,omitempty"` // when it ends; absent: never
	Not      string   `json:"not,omitempty"`     // why it does not matter
	Adds     []string `json:"adds,omitempty"`    // what is allowed behind it, and was not before
	Takes    []string `json:"takes,omitempty"`   // the reverse
}

// ACLAnswer is what a session is answered.
type ACLAnswer struct {
	Rights []string `json:"rights,omitempty"`
	Code   string   `json:"code,omitempty"` // of the refusal
	Error  string   `json:"error,omitempty"`
}

// Table is the steps.
func (r *ACLExplanation) Table() Table { return Table{Foot: r.Steps} }

func aclExplain(ctx context.Context, c *call) (Result, error) {
	if c.ACLs == nil {
		user, err := c.user("user")
		if err != nil {
			return nil, err
		}
		return c.askHolder(ctx, user, c.op, c.here())
	}
	b, err := c.box(ctx)
	if err != nil {
		return nil, err
	}
	here := c.ACLs.Here(b.User)
	var unasked error // of the reader's backend
	if !here && !c.args.is("here") {
		res, err := c.askHolder(ctx, b.User, c.op, c.here())
		if code := imap.CodeOf(err); b.Owner == b.User || code != imap.CodeCannot && code != imap.CodeUnavailable {
			return res, err
		}
		unasked = err
	}
	r := &ACLExplanation{
		User: b.User, Name: b.Name, Namespace: b.Namespace, Owner: b.Owner, Mailbox: b.Mailbox,
		Groups: b.Who.Groups, Rights: []string{},
	}
	r.names(b)
	if b.Owner != b.User {
		r.index(ctx, c, b)
	}
	if b.OwnerIs == "" {
		r.place(ctx, c)
		r.entries(ctx, c, b)
	}
	switch {
	case here:
		r.answer(ctx, c, b)
	case unasked != nil:
		r.unanswered(unasked)
	default:
		r.unanswered(imap.Errorf(imap.CodeCannot, "%s is not served here, and --here is set", b.User))
	}
	return r, nil
}

func (r *ACLExplanation) say(format string, args ...any) {
	r.Steps = append(r.Steps, fmt.Sprintf(format, args...))
}

// names says what the name leads to, and as whom the user is judged.
func (r *ACLExplanation) names(b *Box) {
	switch {
	case b.Owner == b.User && b.Namespace == "":
		r.say("%s is a mailbox of %s's own.", b.Name, b.User)
	case b.Owner == b.User:
		r.say("%s is a mailbox of %s's own, %s, by a name for others.", b.Name, b.User, b.Mailbox)
	default:
		r.say("%s is in the namespace %s: it is %s's mailbox %s.", b.Name, b.Namespace, b.Owner, b.Mailbox)
	}
	groups := "in no group"
	if len(r.Groups) > 0 {
		groups = "in " + strings.Join(r.Groups, ", ")
	}
	r.say("%s is judged as %s, %s.", b.User, b.Who.Acting, groups)
	if b.OwnerIs != "" {
		r.say("There is no owner %s: %s.", b.Owner, b.OwnerIs)
	}
}

// index says what LIST shows.
func (r *ACLExplanation) index(ctx context.Context, c *call, b *Box) {
	x, err := c.ACLs.Indexed(ctx, b)
	r.Index = &ACLIndex{Off: x.Off, Shares: x.Shares, Exact: x.Exact, Rights: append([]string{}, rightWords(x.Rights)...)}
	switch {
	case err != nil:
		r.Index.Error = imap.AsError(err).Text
		r.say("LIST shows nothing of others: %s.", r.Index.Error)
	case x.Off:
		r.say("There is no sharing index (acl_shared_dict): LIST shows nothing of others.")
	case !x.Shares:
		r.say("The sharing index does not say that %s shares anything with %s: LIST shows nothing of %s.", b.Owner, b.User, b.Owner)
	case !x.Exact:
		r.say("The sharing index says that %s shares something with %s and not what: LIST asks.", b.Owner, b.User)
	case x.Rights.Has(imap.RightLookup):
		r.say("The sharing index says that %s has %s: LIST shows it.", b.User, acl.NamesOf(x.Rights))
	default:
		r.say("The sharing index knows what %s shares with %s, and this is not among it: LIST does not show it.", b.Owner, b.User)
	}
}

// place says where the owner's mail is.
func (r *ACLExplanation) place(ctx context.Context, c *call) {
	cl, ok := c.Cluster.(Coordinated)
	if !ok {
		r.say("Without a coordinator it is not known here which backend serves %[1]s; roost director status %[1]s at a director says it.", r.Owner)
		return
	}
	e, err := cl.Explain(ctx, r.Owner, c.args.word("tag"))
	if err != nil {
		r.say("Where %s's mail is can't be said: %s.", r.Owner, imap.AsError(err).Text)
		return
	}
	r.Place = e
	if e.Served {
		r.say("%s is in %s, which %s holds.", r.Owner, e.Unit, e.Held.Backend)
		return
	}
	r.say("%s is in %s, which nobody holds: %s.", r.Owner, e.Unit, e.Why)
}

// entries works out the rights, from the entries as the owner's backend knows them.
func (r *ACLExplanation) entries(ctx context.Context, c *call, b *Box) {
	e, err := c.entriesOf(ctx, b)
	switch {
	case imap.CodeOf(err) == imap.CodeNonExistent:
		r.Unknown = "the mailbox does not exist"
		r.say("%s has no mailbox %s.", b.Owner, b.Mailbox)
		return
	case err != nil:
		r.Unknown = imap.AsError(err).Text
		r.say("The entries can't be asked for: %s.", r.Unknown)
		return
	case e.Off:
		r.Rights = rightWords(imap.AllRights)
		r.say("Rights are not checked: the plugin acl is off, and whoever gets in may do everything.")
		return
	}
	r.Source = string(e.Source)
	switch e.Source {
	case acl.FromMailbox:
		r.say("The mailbox has entries of its own.")
	case acl.FromAbove:
		r.say("The mailbox has no entries of its own, and follows the level above (acl_inherit = live).")
	case acl.FromInbox:
		r.say("The mailbox has no entries of its own, and follows INBOX (acl_defaults_from_inbox).")
	default:
		r.say("No entries of the mailbox's own count: the owner may do everything, nobody else anything.")
	}
	for _, l := range acl.Explain(e.List, b.Who) {
		line := ACLLine{
			ID: l.Identifier, Negative: l.Negative, Global: l.Global, Rights: append([]string{}, rightWords(l.Rights)...), Expires: dateOf(l.Entry), Not: l.Not,
			Adds: rightWords(l.Adds), Takes: rightWords(l.Takes),
		}
		r.Entries = append(r.Entries, line)
		r.say("  %s", line.words())
	}
	have := e.rights(b)
	r.Rights = append(r.Rights, rightWords(have)...)
	r.say("So %s may: %s.", b.User, orNothing(r.Rights))
}

func (l *ACLLine) words() string {
	text := l.ID + ": " + orNothing(l.Rights)
	if l.Negative {
		text = "-" + text
	}
	if l.Global {
		text = "global " + text
	}
	if l.Expires != "" {
		text += ", until " + l.Expires
	}
	switch {
	case l.Not != "":
		return text + ". Does not matter: " + l.Not + "."
	case len(l.Adds)+len(l.Takes) == 0:
		return text + ". Changes nothing."
	}
	if len(l.Adds) > 0 {
		text += ". Adds " + strings.Join(l.Adds, " ")
	}
	if len(l.Takes) > 0 {
		text += ". Takes " + strings.Join(l.Takes, " ")
	}
	return text + "."
}

func orNothing(words []string) string {
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, " ")
}

// entriesOf asks the owner's backend, if that is not this node.
func (c *call) entriesOf(ctx context.Context, b *Box) (*Entries, error) {
	_, asks := c.Cluster.(Coordinated)
	switch {
	case !asks && b.Owner != b.User:
		return nil, imap.Errorf(imap.CodeCannot, "without a coordinator only the backend that serves %[1]s knows them: call there roost acl get -u %[1]s %[2]s", b.Owner, b.Mailbox)
	case c.ACLs.Here(b.Owner):
		return c.ACLs.Entries(ctx, b)
	}
	get, _ := Find("acl get")
	res, err := c.askHolder(ctx, b.Owner, get, Args{"user": b.Owner, "mailbox": b.Mailbox, "here": "true"})
	if err != nil {
		return nil, err
	}
	got, ok := res.(*ACL)
	if !ok {
		return nil, imap.Errorf(imap.CodeUnavailable, "the backend's answer can't be understood")
	}
	e := &Entries{List: got.entries(), Source: acl.Source(got.Source), Off: got.Off}
	if got.Source == "none" {
		e.Source = acl.FromNowhere
	}
	return e, nil
}

// unanswered says why it is not known what a session hears.
func (r *ACLExplanation) unanswered(why error) {
	r.Answer = ACLAnswer{Code: string(imap.CodeOf(why)), Error: imap.AsError(why).Text}
	r.say("What a session of %s is answered is not known here: %s.", r.User, r.Answer.Error)
}

// answer says what a session hears, and whether that is what the entries say.
func (r *ACLExplanation) answer(ctx context.Context, c *call, b *Box) {
	have, err := c.ACLs.Answer(ctx, b)
	if err != nil {
		e := imap.AsError(err)
		r.Answer = ACLAnswer{Code: string(e.Code), Error: e.Text}
		r.say("A session of %s that asks for its rights is answered NO [%s] %s.", b.User, e.Code, e.Text)
	} else {
		r.Answer.Rights = rightWords(have)
		r.say("A session of %s that asks for its rights is answered: %s.", b.User, have)
	}
	if r.Unknown == "" && b.OwnerIs == "" && err == nil && !slices.Equal(r.Answer.Rights, r.Rights) {
		r.say("That is not what the entries say: the session is judged by other groups, or they have just changed.")
	}
}
