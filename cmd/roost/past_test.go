package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mailboxPast is what a client was told of a mailbox ever, across all of its
// SELECTs. RFC 7162.
type mailboxPast struct {
	gone    map[int]bool      // UIDs of which it was told that they are no more
	told    map[int]toldFlags // by UID
	highest uint64            // up to where it knows all changes, as of the last command
	most    uint64            // the highest MODSEQ since
	code    uint64            // HIGHESTMODSEQ since, 0 without
}

type toldFlags struct {
	modSeq uint64
	flags  []string
}

func newMailboxPast() *mailboxPast {
	return &mailboxPast{gone: map[int]bool{}, told: map[int]toldFlags{}}
}

var (
	vanishedLine  = regexp.MustCompile(`^\* VANISHED (\(EARLIER\) )?(\S+)$`)
	fetchedModSeq = regexp.MustCompile(`\bMODSEQ \((\d+)\)`)
	highestCode   = regexp.MustCompile(`^(?:\* )?OK \[HIGHESTMODSEQ (\d+)\]`)
)

// vanished takes in a VANISHED response. Without EARLIER it is about messages that
// the client counts, by a UID that it knows or was never told.
func (v *clientView) vanished(earlier bool, set, line string) error {
	if !v.vanishes || v.holds && !earlier {
		return fmt.Errorf("%q, which must not come now", line)
	}
	uids, err := expandSet(set)
	for _, uid := range uids {
		i := v.place(uid)
		switch {
		case earlier && (i < 0 || v.known[i].uid == 0):
		case i < 0 || v.known[i].uid == 0 && v.past.gone[uid]:
			return fmt.Errorf("%.200q: UID %d is no message that there was", line, uid)
		default:
			v.known = slices.Delete(v.known, i, i+1)
		}
		v.past.leaves(uid)
	}
	return err
}

// place is where the message with that UID is or, if the client was not told
// UIDs, may be; -1 if it is nowhere.
func (v *clientView) place(uid int) int {
	unknown := -1
	for i, k := range v.known {
		switch {
		case k.uid == uid:
			return i
		case k.uid == 0 && unknown < 0:
			unknown = i
		case k.uid > uid:
			return unknown
		case k.uid > 0:
			unknown = -1
		}
	}
	return unknown
}

func expandSet(set string) (uids []int, err error) {
	for part := range strings.SplitSeq(set, ",") {
		first, last, isRange := strings.Cut(part, ":")
		from, err := strconv.Atoi(first)
		to := from
		if err == nil && isRange {
			to, err = strconv.Atoi(last)
		}
		if err != nil || from < 1 || to < from {
			return nil, fmt.Errorf("set %.200q", set)
		}
		for ; from <= to; from++ {
			uids = append(uids, from)
		}
	}
	return uids, nil
}

func (p *mailboxPast) leaves(uid int) {
	if p != nil && uid != 0 {
		p.gone[uid] = true
	}
}

// fetched notes flags and the MODSEQ of a FETCH response.
func (p *mailboxPast) fetched(k *knownMessage, data, line string, needsModSeq bool) error {
	if p.gone[k.uid] {
		return fmt.Errorf("%.200q: UID %d is told of that was expunged", line, k.uid)
	}
	if i := strings.IndexAny(data, "<{"); i >= 0 {
		data = data[:i]
	}
	m, flags := fetchedModSeq.FindStringSubmatch(data), fetchedFlags.MatchString(data)
	if m == nil {
		if flags && needsModSeq {
			return fmt.Errorf("%.200q has no MODSEQ", line)
		}
		return nil
	}
	modSeq, _ := strconv.ParseUint(m[1], 10, 64)
	p.most = max(p.most, modSeq)
	was, known := p.told[k.uid]
	switch {
	case k.uid == 0 || !flags:
		return nil
	case known && modSeq < was.modSeq:
		return fmt.Errorf("%.200q: MODSEQ was %d", line, was.modSeq)
	case known && modSeq == was.modSeq && !slices.Equal(was.flags, k.flags):
		return fmt.Errorf("%.200q: flags were %v with the same MODSEQ", line, was.flags)
	}
	p.told[k.uid] = toldFlags{modSeq, slices.Clone(k.flags)}
	return nil
}

func (p *mailboxPast) toldHighest(line string) {
	if m := highestCode.FindStringSubmatch(line); m != nil && p != nil {
		p.code, _ = strconv.ParseUint(m[1], 10, 64)
	}
}

// settle is called when a command has ended: what was told is all up to there,
// unless the server has said otherwise.
func (p *mailboxPast) settle() {
	p.highest = max(p.highest, p.most)
	if p.code != 0 {
		p.highest = p.code
	}
	p.most, p.code = 0, 0
}

// missed names a message that looks otherwise than the client was told. One whose flags came back to
// what they were may have a higher MODSEQ, of which a busy server does not always tell.
func (p *mailboxPast) missed(before map[int]toldFlags) string {
	for _, uid := range slices.Sorted(maps.Keys(before)) {
		if now := p.told[uid]; !slices.Equal(now.flags, before[uid].flags) {
			return fmt.Sprintf("UID %d was %v, is %v", uid, before[uid], now)
		}
	}
	return ""
}
