package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"slices"

	"github.com/roost-mail/roost/imap"
)

// inspect reads an account without opening it: nothing is sealed, locked or written.
// It may be in use meanwhile; then the end of its log may look torn.
func inspect(fsys FS, dir string) (*account, *loader, *manifest, error) {
	d := disk{fs: fsys, dir: dir, pins: &pins{}, codec: newCodec(0)}
	m, err := d.newestManifest()
	if _, gone := fsys.List(dir); err == nil && m == nil || errors.Is(gone, fs.ErrNotExist) {
		return nil, nil, nil, fmt.Errorf("%s %w", dir, errNoAccount)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	l := &loader{disk: &d, log: quiet}
	if err := l.load(m); err != nil {
		return nil, nil, nil, err
	}
	a := &account{disk: d, user: m.User, id: l.id, st: l.st, names: l.names, log: quiet, man: m}
	a.st.load = a.ensureAlone
	a.setSegments()
	return a, l, m, nil
}

func (l *loader) close() {
	for _, t := range l.tails {
		t.reader.file.Close() //nolint:errcheck // only read
	}
}

// errCheck is what Check returns if it found anything; w has the details.
var errCheck = errors.New("account is damaged")

// Check reads all of the account in dir, bodies included, and writes what is
// wrong to w, a line each. It returns an error if anything is. It changes
// nothing and may run while the account is in use.
func Check(dir string, w io.Writer) error { return check(OS{}, dir, w) }

func check(fsys FS, dir string, w io.Writer) error {
	a, l, m, err := inspect(fsys, dir)
	if errors.Is(err, errNoAccount) {
		return err
	}
	if err != nil {
		fmt.Fprintf(w, "%s: %v\n", dir, err)
		return fmt.Errorf("%s: %w: %w", dir, errCheck, err)
	}
	defer l.close()
	c := &checker{account: a, w: w, refs: map[uint32]uint32{}, sizes: map[uint32]uint32{}}
	for i := range l.tails {
		t := &l.tails[i]
		c.bodies(t)
		if t.found.torn > 0 {
			fmt.Fprintf(w, "note: the last %d bytes of %s are no transaction\n", t.found.torn, t.name)
		}
	}
	l.apply(a, nil)
	for _, bad := range l.bad {
		c.bad("%s", bad)
	}
	c.boxes()
	c.kept()
	c.blobs()
	for _, entry := range m.Digests {
		c.digests(entry)
	}
	fmt.Fprintf(w, "%s: user %q, manifest %d, epoch %d, %d mailboxes, %d messages, %d segments, %d problems\n",
		dir, m.User, m.Number, m.Epoch, len(a.st.boxes), c.messages, len(m.Segments), c.problems)
	if c.problems > 0 {
		return fmt.Errorf("%s: %w: %d problems", dir, errCheck, c.problems)
	}
	return nil
}

type checker struct {
	account  *account
	w        io.Writer
	problems int
	messages int
	refs     map[uint32]uint32 // by blob
	sizes    map[uint32]uint32
}

func (c *checker) bad(format string, args ...any) {
	c.problems++
	fmt.Fprintf(c.w, format+"\n", args...)
}

// bodies drops transactions with a damaged body at the end of an open segment,
// as an open would.
func (c *checker) bodies(t *segmentTail) {
	kept := t.found.txns[:0]
	durable := t.found.durable()
	for i := range t.found.txns {
		txn := &t.found.txns[i]
		whole := true
		for _, r := range txn.records {
			if t.reader.checkBody(r.off, r.frame) != nil {
				whole = false
			}
		}
		switch {
		case whole:
			kept = append(kept, *txn)
		case txn.end <= durable:
			kept = append(kept, *txn) // blobs tells
		default:
			fmt.Fprintf(c.w, "note: transaction at %d of %s is torn\n", txn.start, t.name)
		}
	}
	t.found.txns = kept
}

// boxes compares each mailbox's counters with its messages.
func (c *checker) boxes() {
	st := c.account.st
	for _, id := range slices.Sorted(maps.Keys(st.boxes)) {
		b := st.boxes[id]
		if !b.loaded {
			if err := c.account.ensureAlone(b); err != nil {
				c.bad("mailbox %q: %v", b.name, err)
				continue
			}
		}
		c.box(b)
	}
	if st.names[imap.Inbox] == nil {
		c.bad("there is no INBOX")
	}
	c.metadata("account", st.metadata)
	c.marks()
}

func (c *checker) box(b *box) {
	st, unseen, last := c.account.st, uint32(0), uint32(0)
	var total sums
	seen, seed := map[string]uint32{}, uint32(0)
	for i := range b.rows {
		r := &b.rows[i]
		if r.uid <= last || r.uid >= b.uidNext {
			c.bad("mailbox %q: UID %d out of order", b.name, r.uid)
		}
		last = r.uid
		total.add(r, b.flags.deleted(r.flags))
		if r.flags&rowSeen == 0 {
			unseen++
		}
		if b.seed.at(r.uid).flags&ownSeen != 0 {
			seed++
		}
		for name := range b.readers {
			if m := b.marks(name); m.at(r.uid).flags&ownSeen != 0 {
				seen[name]++
			}
		}
		if r.modseq == 0 || r.modseq > b.shared || r.seenMod > b.sharedSeen || r.modseq > st.modseq {
			c.bad("mailbox %q: UID %d has modification sequences %d and %d, highest are %d and %d", b.name, r.uid, r.modseq, r.seenMod, b.shared, b.sharedSeen)
		}
		c.refs[r.blob]++
		c.sizes[r.blob] = r.size
	}
	if int(b.messages) != len(b.rows) || b.unseen != unseen {
		c.bad("mailbox %q: counts %d messages, %d unseen; has %d and %d", b.name, b.messages, b.unseen, len(b.rows), unseen)
	}
	c.metadata(fmt.Sprintf("mailbox %q", b.name), b.metadata)
	if b.sums != total {
		c.bad("mailbox %q: counts %+v, has %+v", b.name, b.sums, total)
	}
	for name, reader := range b.readers {
		if reader.seen != seen[name] {
			c.bad("mailbox %q: counts %d seen by %q, has %d", b.name, reader.seen, name, seen[name])
		}
	}
	if b.seed.seen != seed {
		c.bad("mailbox %q: counts %d seen before it became private, has %d", b.name, b.seed.seen, seed)
	}
	if st.names[b.name] != b {
		c.bad("mailbox %q is not found by its name", b.name)
	}
	c.messages += len(b.rows)
}

// kept counts what expunged messages use.
func (c *checker) kept() {
	for _, g := range c.account.st.kept {
		for _, r := range g.rows {
			c.refs[r.blob]++
			c.sizes[r.blob] = r.size
		}
	}
}

// blobs reads every message.
func (c *checker) blobs() {
	files := contents{account: c.account}
	defer files.close()
	live := map[uint32]uint64{}
	for i := range c.account.st.blobs.list {
		b := &c.account.st.blobs.list[i]
		if b.refs != c.refs[b.id] {
			c.bad("message content %d: counts %d messages, has %d", b.id, b.refs, c.refs[b.id])
		}
		delete(c.refs, b.id)
		if b.refs == 0 {
			continue
		}
		live[b.seg] += uint64(c.sizes[b.id])
		if err := files.verify(b.place(), c.sizes[b.id]); err != nil {
			c.bad("message content %d in segment %d at %d: %v", b.id, b.seg, b.place().off, err)
		}
	}
	for id, n := range c.refs {
		c.bad("message content %d is missing, %d messages have it", id, n)
	}
	for seg, n := range c.account.st.live {
		if live[seg] != n {
			c.bad("segment %d: counts %d bytes in use, has %d", seg, n, live[seg])
		}
	}
}

// digests compares a digest file with the log. As it is not synced and has
// nothing of its own, only what verifies and yet differs is a problem.
func (c *checker) digests(entry digestEntry) {
	d, err := c.account.readDigests(entry)
	if err != nil {
		fmt.Fprintf(c.w, "note: digest file %s is not used: %v\n", entry.Name, err)
		return
	}
	defer d.close()
	files := contents{account: c.account}
	defer files.close()
	b, count := c.account.st.boxes[entry.Box], 0
	err = d.all(func(rec *recDigest) {
		count++
		if b == nil {
			return
		}
		i, found := b.find(rec.uid)
		if !found {
			return
		}
		blob := c.account.st.blobs.find(rec.blob)
		if b.rows[i].blob != rec.blob || blob == nil {
			c.bad("%s: UID %d has content %d, not %d", entry.Name, rec.uid, b.rows[i].blob, rec.blob)
			return
		}
		if _, err := files.open(&seenRow{at: blob.place()}); err == nil && !bytes.Equal(files.raw, rec.digest) {
			c.bad("%s: the digest of UID %d is not that in the log", entry.Name, rec.uid)
		}
	})
	switch {
	case err != nil:
		fmt.Fprintf(c.w, "note: digest file %s: %v\n", entry.Name, err)
	case count != entry.Count:
		c.bad("%s has %d digests, not %d", entry.Name, count, entry.Count)
	}
}

// verify reads a message and compares its checksum.
func (c *contents) verify(at place, size uint32) error {
	m, err := c.open(&seenRow{at: at, size: size})
	if err != nil {
		return err
	}
	r := c.files[at.seg]
	f := frame{head: m.off - at.off - frameLen, body: m.stored, bodySum: m.sum}
	if m.size != int64(size) {
		return fmt.Errorf("%w: %d bytes, not %d", errDamaged, m.size, size)
	}
	if err := r.checkBody(at.off, f); err != nil || m.coding == codingPlain {
		return err
	}
	return m.copyTo(io.Discard)
}

// copyTo writes the message, as it came, to w.
func (c *content) copyTo(w io.Writer) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(body, 0, c.size))
	return err
}

// Dump writes the account in dir as text: the manifest, the mailboxes, and every
// record of every segment. It changes nothing.
func Dump(dir string, w io.Writer) error {
	a, l, m, err := inspect(OS{}, dir)
	if err != nil {
		return err
	}
	defer l.close()
	text, err := m.encode()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	for _, s := range m.Segments {
		if err := a.dumpSegment(s, w); err != nil {
			fmt.Fprintf(w, "%s: %v\n", s.Name, err)
		}
	}
	for _, entry := range m.Digests {
		if err := a.dumpDigests(entry, w); err != nil {
			fmt.Fprintf(w, "%s: %v\n", entry.Name, err)
		}
	}
	l.apply(a, nil)
	for _, id := range slices.Sorted(maps.Keys(a.st.boxes)) {
		b := a.st.boxes[id]
		_, err := fmt.Fprintf(w, "mailbox %d %q uidvalidity=%d uidnext=%d messages=%d unseen=%d %+v modseq=%d seen-modseq=%d id=%s entries=%v table=%v%v\n",
			b.id, b.name, b.uidValidity, b.uidNext, b.messages, b.unseen, b.sums, b.shared, b.sharedSeen, b.objectID, b.entries, b.table, b.metadata)
		if err != nil {
			return err
		}
	}
	for _, box := range a.st.marksSorted() {
		if _, err := fmt.Fprintf(w, "marks in %+v: %+v\n", box, *a.st.marks[box]); err != nil {
			return err
		}
	}
	return nil
}

func (a *account) dumpSegment(s segmentEntry, w io.Writer) error {
	name, err := parseFileName(s.Name)
	if err != nil {
		return err
	}
	r, err := a.disk.openSegment(a.id, name, s.Sealed)
	if err != nil {
		return err
	}
	defer r.file.Close() //nolint:errcheck // only read
	found, err := r.scan(headerLen)
	if err != nil {
		return err
	}
	for _, t := range found.txns {
		fmt.Fprintf(w, "%s transaction %d-%d, durable up to %d\n", name, t.start, t.end, t.durable)
		for _, rec := range t.records {
			if _, err := fmt.Fprintf(w, "  %d body=%d %T%+v\n", rec.off, rec.frame.body, rec.rec, rec.rec); err != nil {
				return err
			}
		}
	}
	for _, d := range found.damage {
		fmt.Fprintf(w, "%s damaged %d-%d\n", name, d.from, d.to)
	}
	_, err = fmt.Fprintf(w, "%s ends at %d, %d bytes behind it are no transaction\n", name, found.end, found.torn)
	return err
}

func (a *account) dumpDigests(entry digestEntry, w io.Writer) error {
	d, err := a.readDigests(entry)
	if err != nil {
		return err
	}
	defer d.close()
	fmt.Fprintf(w, "%s mailbox=%d digests=%d up to UID %d, index at %d\n", entry.Name, entry.Box, entry.Count, entry.Last, entry.Index)
	return d.all(func(rec *recDigest) {
		fmt.Fprintf(w, "  %d uid=%d blob=%d digest of %d bytes\n", d.next, rec.uid, rec.blob, len(rec.digest))
	})
}

// Cat writes one message of the account in dir to w. It changes nothing.
func Cat(dir, mailbox string, uid imap.UID, w io.Writer) error {
	a, l, _, err := inspect(OS{}, dir)
	if err != nil {
		return err
	}
	defer l.close()
	l.apply(a, nil)
	b := a.st.names[mailbox]
	if b == nil {
		return fmt.Errorf("no mailbox %q", mailbox)
	}
	if !b.loaded {
		if err := a.ensureAlone(b); err != nil {
			return err
		}
	}
	i, found := b.find(uint32(uid))
	if !found {
		return fmt.Errorf("no message %d in %q", uid, mailbox)
	}
	blob := a.st.blobs.find(b.rows[i].blob)
	if blob == nil {
		return fmt.Errorf("message %d in %q: %w: its content is missing", uid, mailbox, errDamaged)
	}
	files := contents{account: a}
	defer files.close()
	m, err := files.open(&seenRow{at: blob.place()})
	if err != nil {
		return err
	}
	return m.copyTo(w)
}

// Takeover lets any backend open the account of user in dir, which another left
// without closing it. Whoever says so knows that the other is gone for good.
func Takeover(user, dir string) (from string, err error) { return takeover(OS{}, user, dir) }

func takeover(fsys FS, user, dir string) (from string, err error) {
	d := disk{fs: fsys, dir: dir}
	lock, err := d.fs.Lock(d.dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	m, err := d.newestManifest()
	switch {
	case err != nil:
		return "", err
	case m == nil:
		return "", fmt.Errorf("%s %w", dir, errNoAccount)
	case m.User != user:
		return "", fmt.Errorf("%s holds the mail of %q, not of %q", dir, m.User, user)
	case m.Holder == "":
		return "", nil
	}
	from = m.Holder
	m.Holder, m.TookOver = "", true
	return from, d.installManifest(m)
}
