package imapserver

import (
	"bytes"
	"context"

	"github.com/roost-mail/roost/mailbox"
)

// maxAhead bounds how many commands are read before they are executed.
const maxAhead = 64

// queuedFetch is a UID FETCH that was read ahead.
type queuedFetch struct {
	cmd   command
	set   messageSet
	req   *fetchRequest
	err   error // of reading it
	begun bool  // the mailbox was told
}

// readAhead reads the UID FETCH commands that follow the one that set and req are
// of, as far as they have come, and has the mailbox begin them all, if it takes
// a round trip for each. What they name does not depend on the answers before
// (RFC 9051 section 5.5), and they are answered in their order, one after the other.
func (s *session) readAhead(ctx context.Context, set messageSet, req *fetchRequest, begun bool) {
	p, ok := s.mbox.(mailbox.Prefetcher)
	if !ok || len(s.ahead) > 0 && !s.ahead[len(s.ahead)-1].begun {
		return
	}
	for len(s.ahead) < maxAhead && s.nextIsFetch() {
		if !begun && !s.prefetch(ctx, p, set, req) {
			return
		}
		q := s.readQueued()
		begun = q.err == nil && s.prefetch(ctx, p, q.set, q.req)
		q.begun = begun
		s.ahead = append(s.ahead, q)
		if !begun {
			return
		}
	}
}

// prefetch has the mailbox begin a FETCH, but for those that tell more than
// messages.
func (s *session) prefetch(ctx context.Context, p mailbox.Prefetcher, set messageSet, req *fetchRequest) bool {
	if req.changedSince || req.vanished || req.partial.to != 0 {
		return false
	}
	uids, err := s.resolve(set, true)
	return err == nil && p.Prefetch(ctx, uids, &req.items)
}

// nextIsFetch reports whether a UID FETCH comes next and all of it is here.
func (s *session) nextIsFetch() bool {
	line := s.dec.BufferedLine()
	for len(line) == 0 && s.deflated == nil && s.stream.mayHaveMore() {
		s.stream.brief = true
		err := s.dec.FillMore()
		s.stream.brief = false
		line = s.dec.BufferedLine()
		if err != nil {
			break
		}
	}
	words := bytes.SplitN(line, []byte(" "), 4)
	return len(words) == 4 && bytes.EqualFold(words[1], []byte("UID")) && bytes.EqualFold(words[2], []byte("FETCH")) &&
		bytes.IndexByte(line, '{') < 0
}

// readQueued reads a UID FETCH to the end of its line.
func (s *session) readQueued() queuedFetch {
	var q queuedFetch
	words := s.words // the running command's tag
	s.words = nil
	if q.err = s.readCommand(&q.cmd); q.err == nil {
		q.set, q.req, q.err = s.parseFetch(true)
	}
	s.words = words
	if err := s.dec.SkipLine(); err != nil {
		q.err = connectionLost{err}
	}
	return q
}

// runQueued runs the first of the commands that were read ahead.
func (s *session) runQueued(cmd *command) error {
	q := s.ahead[0]
	s.ahead = s.ahead[1:]
	*cmd = q.cmd
	if q.err != nil {
		return q.err
	}
	s.works(cmd.row)
	s.readAhead(s.ctx, q.set, q.req, q.begun)
	if len(s.ahead) == 0 {
		s.ahead = nil
	}
	return s.runFetch(s.ctx, cmd, q.set, q.req)
}
