package store

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
)

// row is what memory holds of a message: 48 bytes, and 16 more in blobMap.
type row struct {
	uid     uint32
	flags   uint32 // index into box.combos, shifted by one; bit 0 is the shared \Seen
	modseq  uint64 // of the last change that everyone sees
	seenMod uint64 // of the last change of shared flags that readers may have for themselves
	date    packedTime
	size    uint32
	blob    uint32
	saved   uint32
}

const rowSeen = 1

func (r *row) combo() uint32 { return r.flags >> 1 }

// packedTime is an internal date: seconds since 1970, shifted by 16, and the
// zone in minutes east of UTC, biased by zoneBias.
type packedTime int64

const zoneBias = 1 << 15

func packTime(t time.Time) packedTime {
	_, zone := t.Zone()
	return packedTime(t.Unix()<<16 | int64(zone/60+zoneBias)&0xffff)
}

// time is the date in its zone. Only the common zone allocates nothing.
func (p packedTime) time() time.Time {
	zone := int(uint16(p)) - zoneBias
	t := time.Unix(int64(p)>>16, 0).UTC()
	if zone == 0 {
		return t
	}
	return t.In(time.FixedZone("", zone*60))
}

// unix is the date in seconds since 1970.
func (p packedTime) unix() int64 { return int64(p) >> 16 }

// day is the day that p names in its own zone, in days since 1970.
func (p packedTime) day() int64 {
	zone := int64(uint16(p)) - zoneBias
	return floorDiv(int64(p)>>16+zone*60, 86400)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Bits of flagList.system.
const (
	bitAnswered = 1 << iota
	bitFlagged
	bitDeleted
	bitDraft
	systemMask = 1<<iota - 1
)

// maxKeywords is how many keywords a mailbox knows.
const maxKeywords = 256

// systemFlags are the flags that bits stand for, in order.
func systemFlags(bits uint8) []imap.Flag {
	var flags []imap.Flag
	for i, f := range [...]imap.Flag{imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft} {
		if bits&(1<<i) != 0 {
			flags = append(flags, f)
		}
	}
	return flags
}

// splitFlags parts flags into what records hold and \Seen. \Recent is dropped.
func splitFlags(flags []imap.Flag) (list flagList, seen bool, err error) {
	for _, f := range flags {
		switch imap.CanonicalFlag(f) {
		case imap.FlagSeen:
			seen = true
		case imap.FlagAnswered:
			list.system |= bitAnswered
		case imap.FlagFlagged:
			list.system |= bitFlagged
		case imap.FlagDeleted:
			list.system |= bitDeleted
		case imap.FlagDraft:
			list.system |= bitDraft
		case imap.FlagRecent:
		default:
			if f == "" || f[0] == '\\' || len(f) > imap.MaxFlagLen {
				return list, seen, imap.BadCommand("Unknown flag")
			}
			if !slices.ContainsFunc(list.keywords, func(k string) bool { return strings.EqualFold(k, string(f)) }) {
				list.keywords = append(list.keywords, string(f))
			}
		}
	}
	return list, seen, nil
}

// combo is a combination of flags that some message has or had. It never changes.
type combo struct {
	list  flagList
	plain []imap.Flag // without \Seen
	seen  []imap.Flag // with it
}

// show are the flags as a view sees them.
func (c *combo) show(seen bool) []imap.Flag {
	if seen {
		return c.seen
	}
	return c.plain
}

// flagTable numbers the keywords of a mailbox and the combinations in use.
type flagTable struct {
	keywords []imap.Flag
	combos   []*combo
	index    map[string]uint32 // by comboKey
	known    []imap.Flag       // system flags and keywords; made anew when keywords change
}

// learn numbers keywords not met before.
func (t *flagTable) learn(keywords []string) []uint16 {
	numbers := make([]uint16, 0, len(keywords))
	for _, k := range keywords {
		i := slices.IndexFunc(t.keywords, func(f imap.Flag) bool { return strings.EqualFold(k, string(f)) })
		if i < 0 {
			i = len(t.keywords)
			t.keywords = append(slices.Clip(t.keywords), imap.Flag(k))
			t.known = nil
		}
		numbers = append(numbers, uint16(i))
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// intern finds the combination's number.
func (t *flagTable) intern(list flagList) uint32 {
	list.system &= systemMask
	numbers := t.learn(list.keywords)
	key := []byte{list.system}
	for _, n := range numbers {
		key = binary.LittleEndian.AppendUint16(key, n)
	}
	if i, ok := t.index[string(key)]; ok {
		return i
	}
	c := &combo{list: flagList{system: list.system}}
	c.plain = systemFlags(list.system)
	for _, n := range numbers {
		c.plain = append(c.plain, t.keywords[n])
		c.list.keywords = append(c.list.keywords, string(t.keywords[n]))
	}
	c.plain = slices.Clip(c.plain)
	c.seen = slices.Clip(append(slices.Clone(c.plain), imap.FlagSeen))
	if t.index == nil {
		t.index = map[string]uint32{}
	}
	i := uint32(len(t.combos))
	t.combos = append(t.combos, c)
	t.index[string(key)] = i
	return i
}

// room refuses keywords beyond maxKeywords.
func (t *flagTable) room(keywords []string) error {
	var fresh []imap.Flag
	for _, k := range keywords {
		f := imap.Flag(k)
		if imap.HasFlag(t.keywords, f) || imap.HasFlag(fresh, f) {
			continue
		}
		if fresh = append(fresh, f); len(t.keywords)+len(fresh) > maxKeywords {
			return imap.Errorf(imap.CodeLimit, "Too many different keywords in this mailbox")
		}
	}
	return nil
}

// deleted reports whether flags, as a row holds them, are with \Deleted.
func (t *flagTable) deleted(flags uint32) bool { return t.combos[flags>>1].list.system&bitDeleted != 0 }

// all are the flags known in the mailbox, shared by all that ask.
func (t *flagTable) all() []imap.Flag {
	if t.known == nil {
		t.known = slices.Clip(append(imap.SystemFlags(), t.keywords...))
	}
	return t.known
}

// compactFlags forgets combinations that no message has, when they are many.
func (b *box) compactFlags() {
	if len(b.flags.combos) < 1024+2*len(b.rows) {
		return
	}
	numbers, lists := b.flags.used(b.rows)
	kept := flagTable{keywords: b.flags.keywords, known: b.flags.known}
	for _, list := range lists {
		kept.intern(list) // gives them the numbers that used gave
	}
	for i := range b.rows {
		r := &b.rows[i]
		r.flags = numbers[r.combo()]<<1 | r.flags&rowSeen
	}
	b.flags = kept
}
