package imapserver

import (
	"context"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
)

// thread is THREAD. RFC 5256 section 3, draft-ietf-morg-inthread-01 section 4.
func (s *session) thread(ctx context.Context, cmd *command) error {
	var name string
	if !s.dec.ExpectSP() || !s.dec.ExpectAtom(&name) {
		return s.dec.Err()
	}
	alg := imap.ThreadAlgorithm(strings.ToUpper(name))
	if !slices.Contains(imap.ThreadAlgorithms(), alg) {
		return imap.BadCommand("Unknown thread algorithm")
	}
	program, err := s.parseCriteria()
	if err == nil && program.Has(imap.SearchModSeq) {
		err = s.needModSeqs()
	}
	if err != nil {
		return err
	}
	list, err := s.mbox.Thread(ctx, alg, program)
	if err != nil {
		return err
	}
	list = imap.PruneThreads(list, func(uid imap.UID) bool { return s.view.seq(uid) != 0 })
	s.writeThreads(cmd, list)
	return nil
}

// writeThreads is the THREAD response. RFC 5256 section 4: a list of siblings
// nests, an only child follows its parent. Depth is kept on a stack of our own.
func (s *session) writeThreads(cmd *command, list []imap.ThreadMember) {
	children := countChildren(list)
	s.enc.RawString("* THREAD")
	if len(list) > 0 {
		s.enc.SP()
	}
	var open []uint32   // the depths at which lists begin that are open
	var parents []int32 // the members above the present one
	for i, m := range list {
		for len(open) > 0 && open[len(open)-1] >= m.Depth {
			s.enc.Special(')')
			open = open[:len(open)-1]
		}
		parents = parents[:m.Depth]
		only, first, there := false, true, false
		if m.Depth > 0 {
			p := parents[m.Depth-1]
			only, first, there = children[p] == 1, int(p) == i-1, list[p].UID != 0
		}
		if first && there {
			s.enc.SP()
		}
		if !only {
			s.enc.Special('(')
			open = append(open, m.Depth)
		}
		if m.UID != 0 {
			s.enc.Number(s.numberOf(cmd, m.UID))
		}
		parents = append(parents, int32(i))
	}
	for range open {
		s.enc.Special(')')
	}
	s.enc.CRLF()
}

// countChildren counts the members right below each member.
func countChildren(list []imap.ThreadMember) []uint32 {
	children := make([]uint32, len(list))
	var parents []int
	for i, m := range list {
		parents = parents[:m.Depth]
		if m.Depth > 0 {
			children[parents[m.Depth-1]]++
		}
		parents = append(parents, i)
	}
	return children
}
