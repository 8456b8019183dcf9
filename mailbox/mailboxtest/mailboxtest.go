// Package mailboxtest holds the tests that every home of mail has to pass: what
// works on one's own mail works the same on mail at another backend.
//
// Test is a list of single behaviours, each on mail of its own. Random plays
// random operations of several users on two homes and compares all that those
// users can see after each step.
//
// The suite acts through mailbox.Account and mailbox.Mailbox only. It judges
// no rights: all users it asks for may do everything.
package mailboxtest

import (
	"testing"

	"github.com/roost-mail/roost/mailbox"
)

// Fixture is fresh mail of one owner: an empty INBOX and nothing else.
type Fixture struct {
	// Owner opens a new session of the owner. The suite closes it.
	Owner func() mailbox.Account

	// Reader opens a new session of another user, who has a private \Seen; nil
	// if the home knows no such thing. The suite closes it.
	Reader func(name string) mailbox.Account

	// PrivateFlags says that a Reader has all flags of PrivateFlags for themselves.
	PrivateFlags bool

	// KeptByReader says that what readers have for themselves is kept on their side: others take it
	// along with nothing that they copy or move, and no mailbox says whose it is. Random and
	// PrivateModes leave that out.
	KeptByReader bool

	// Grant lets a reader do everything with a mailbox that exists; nil if
	// readers may do so anyway.
	Grant func(t *testing.T, mailbox, reader string)

	// SetQuota bounds the mail, before sessions are opened; nil if the home
	// knows no quotas.
	SetQuota func(*mailbox.QuotaPolicy)

	// NoModSeq says that the home knows no modification sequences.
	NoModSeq bool

	// VanishedIsAll says that the home does not know when messages vanished, and
	// names them all.
	VanishedIsAll bool

	// Skip names the tests that this home can't pass ("Names/Odd"), each with
	// the reason.
	Skip map[string]string
}

// test is one behaviour.
type test struct {
	name string
	run  func(*home)
}

// Test runs the suite. open is called once for each test, with that test's T,
// whose Cleanup it may use.
func Test(t *testing.T, open func(t *testing.T) Fixture) { run(t, open, false) }

// TestReaders runs the part that is about readers and what they have for themselves.
func TestReaders(t *testing.T, open func(t *testing.T) Fixture) { run(t, open, true) }

func run(t *testing.T, open func(t *testing.T) Fixture, readersOnly bool) {
	groups := []struct {
		name    string
		readers bool // needs Fixture.Reader
		tests   []test
	}{
		{name: "Names", tests: nameTests()},
		{name: "Rename", tests: renameTests()},
		{name: "Subscriptions", tests: subscriptionTests()},
		{name: "Status", tests: statusTests()},
		{name: "Metadata", tests: metadataTests()},
		{name: "SpecialUse", tests: useTests()},
		{name: "Quota", tests: quotaTests()},
		{name: "Append", tests: appendTests()},
		{name: "Open", tests: openTests()},
		{name: "Fetch", tests: fetchTests()},
		{name: "Items", tests: itemTests()},
		{name: "Search", tests: searchTests()},
		{name: "Sort", tests: sortTests()},
		{name: "Thread", tests: threadTests()},
		{name: "Store", tests: storeTests()},
		{name: "Expunge", tests: expungeTests()},
		{name: "Copy", tests: copyTests()},
		{name: "ModSeq", tests: modSeqTests()},
		{name: "Sync", tests: syncTests()},
		{name: "Entries", tests: entryTests()},
		{name: "Watch", tests: watchTests()},
		{name: "Observe", tests: observeTests()},
		{name: "PrivateObserve", readers: true, tests: privateObserveTests()},
		{name: "Private", readers: true, tests: privateTests()},
		{name: "PrivateModSeq", readers: true, tests: privateModSeqTests()},
		{name: "PrivateMetadata", readers: true, tests: readerMetadataTests()},
		{name: "PrivateFlags", readers: true, tests: privateFlagTests()},
		{name: "PrivateModes", readers: true, tests: privateModeTests()},
	}
	for _, g := range groups {
		if readersOnly && !g.readers {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.tests {
				t.Run(c.name, func(t *testing.T) {
					f := open(t)
					if reason, skip := f.Skip[g.name+"/"+c.name]; skip {
						t.Skip(reason)
					}
					if g.readers && f.Reader == nil {
						t.Skip("no readers with a private \\Seen here")
					}
					if g.name == "PrivateFlags" && !f.PrivateFlags {
						t.Skip("no private flag but \\Seen here")
					}
					if g.name == "PrivateModes" && f.KeptByReader {
						t.Skip("no mailbox says here whose private flags are")
					}
					c.run(&home{T: t, Fixture: f})
				})
			}
		})
	}
}
