package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

var (
	killFor  = flag.Duration("kill-for", 4*time.Second, "how long TestKillAnywhere kills processes")
	killSeed = flag.Uint64("kill-seed", uint64(time.Now().UnixNano()), "of TestKillAnywhere")
)

// anyStep has the child work without an end, in small segments that are folded,
// rewritten and removed all the time.
const anyStep = "any"

// hastyFS is the real file system, where files age a million times as fast, so
// that a sweep finds something to remove.
type hastyFS struct{ OS }

func (h hastyFS) List(dir string) ([]fs.DirEntry, error) {
	entries, err := h.OS.List(dir)
	for i := range entries {
		entries[i] = hastyEntry{entries[i]}
	}
	return entries, err
}

type hastyEntry struct{ fs.DirEntry }

func (e hastyEntry) Info() (fs.FileInfo, error) {
	info, err := e.DirEntry.Info()
	return hastyInfo{info}, err
}

type hastyInfo struct{ fs.FileInfo }

var hastyStart = time.Now()

func (i hastyInfo) ModTime() time.Time {
	const haste = 1_000_000
	return hastyStart.Add(i.FileInfo.ModTime().Sub(hastyStart) * haste)
}

// busyChild works on the mail in dir until it is killed, and opens it anew now and then.
func busyChild(dir string) error {
	round, err := strconv.Atoi(os.Getenv(killCountEnv))
	if err != nil {
		return err
	}
	ctx := context.Background()
	s := New(Options{
		Holder: "b1", Linger: -1, FS: hastyFS{}, limits: limits{segment: 4 << 10, foldBytes: 2 << 10, foldRecords: 12, digests: 8},
		FailPoint: func(step string) error { fmt.Println("at", step); return nil },
	})
	for n := 100_000 * round; ; {
		account, err := s.Open(ctx, "alice", dir)
		if err != nil {
			return err
		}
		a := account.As(owner)
		if err := a.Create(ctx, "Done"); err != nil && imap.CodeOf(err) != imap.CodeAlreadyExists {
			return err
		}
		m, err := a.Open(ctx, "INBOX", false)
		if err != nil {
			return err
		}
		r := account.As(View{Acting: "bob", PrivateFlags: modelPrivate, PrivateSeen: true})
		for range 30 {
			n++
			if err := errors.Join(killStep(a, m, n), killReader(a, r, n)); err != nil {
				return err
			}
		}
		r.Close()       //nolint:errcheck // never fails
		m.Close()       //nolint:errcheck // never fails
		a.Close()       //nolint:errcheck // never fails
		account.Close() //nolint:errcheck // never fails
	}
}

// killReader has bob change flags of his own, and INBOX change its mode. \Flagged is
// left alone: whether it is lost is what is looked at.
func killReader(a, bob *Session, n int) error {
	ctx := context.Background()
	if n%7 == 0 {
		mode := []byte([]string{"private", "shared"}[n/7%2])
		if err := a.SetMetadata(ctx, "INBOX", []imap.MetadataEntry{{Name: imap.MetadataPrivateFlags, Value: mode}}); err != nil {
			return err
		}
	}
	m, err := bob.Open(ctx, "INBOX", false)
	if err != nil {
		return err
	}
	change := mailbox.FlagChange{Op: mailbox.FlagOp(1 + n%2), Flags: []imap.Flag{modelPrivate[n/2%2*2]}, Silent: true}
	_, err = m.Store(ctx, imap.UIDRange(1, imap.UID(1+n%200)), change, nil)
	return errors.Join(err, m.Close())
}

// TestKillAnywhere kills processes at moments that nothing but chance chooses,
// again and again on the same mail, while they fold, rewrite, remove and roll
// over all the time. Longer: -kill-for 10m.
func TestKillAnywhere(t *testing.T) {
	t.Logf("-kill-seed %d", *killSeed)
	k := &killed{t: t, rnd: rand.New(rand.NewPCG(*killSeed, 1)), told: map[string]string{}}
	last := map[string]int{} // where they were killed
	rounds := 0
	for end := time.Now().Add(*killFor); time.Now().Before(end) && !t.Failed(); rounds++ {
		if rounds%40 == 0 {
			k.dir, k.told = t.TempDir(), map[string]string{}
		}
		last[k.runUntil(anyStep, rounds+1, 1+k.rnd.IntN(400), time.Duration(k.rnd.IntN(3000))*time.Microsecond)]++
		k.verify()
	}
	t.Logf("%d processes were killed, after %v", rounds, last)
}
