package imapserver

import (
	"context"
	"iter"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/imap"
)

// SessionInfo is one connection as it was at a moment.
type SessionInfo struct {
	ID     string         // Client.SessionID
	Remote netip.AddrPort // the originating client
	Peer   netip.AddrPort // who is connected: the client, or a proxy or backend of ours
	TLS    bool           // the connection from Peer is encrypted
	Secure bool           // Client.Secured
	Since  time.Time      // of the connection

	State  string            // one of Counts.Sessions; empty before the greeting
	User   string            // whose mail it is; empty before the login
	Acting string            // whose rights apply
	Asker  string            // Login.Asker
	Names  map[string]string // Login.Names

	// Command is what runs, if Busy, or ran last; empty before the first. IDLE is
	// a command that has run. At is when it began, or since when nothing has run.
	Command string
	Busy    bool
	At      time.Time

	// Of a proxied session: where its mail is, and what was copied from and to the
	// client. Its commands are not known.
	Backend           string
	BackendName       string // as the cluster's map has it; else empty
	BackendUser       string // whose mail it is there
	BytesIn, BytesOut int64
}

// card is what others read of a session. The session's goroutine writes it, but
// for ending; what a pointer leads to is never changed.
type card struct {
	client atomic.Pointer[Client]
	login  atomic.Pointer[Login]
	row    atomic.Pointer[row]
	at     atomic.Int64  // SessionInfo.At after the connection began; negative while Busy
	phase  atomic.Uint32 // what the session is counted as

	ending atomic.Pointer[imap.Error] // what End was called with; nil before
}

// works and rests are called around each command.
func (s *session) works(r *row) {
	s.card.row.Store(r)
	s.card.at.Store(-max(1, int64(time.Since(s.stream.began))))
}

func (s *session) rests() { s.card.at.Store(int64(time.Since(s.stream.began))) }

// info may be called from any goroutine.
func (s *session) info() SessionInfo {
	c, login := s.card.client.Load(), s.card.login.Load()
	i := SessionInfo{
		ID: c.SessionID, Remote: c.Remote, Peer: c.Peer, TLS: c.TLS, Secure: c.Secured,
		Since: s.stream.began, State: phases[s.card.phase.Load()],
	}
	if r := s.card.row.Load(); r != nil {
		i.Command = r.name
	}
	at := time.Duration(s.card.at.Load())
	i.Busy = at < 0
	i.At = s.stream.began.Add(max(at, -at))
	if login == nil {
		return i
	}
	i.User, i.Acting, i.Asker, i.Names = login.User, login.Acting, login.Asker, login.Names
	if login.Proxy != nil {
		p := login.Proxy.Status()
		i.Backend, i.BackendName, i.BackendUser, i.BytesIn, i.BytesOut = p.Backend, p.Name, p.User, p.BytesIn, p.BytesOut
	}
	return i
}

// Sessions gives the connections that there are when it is ranged over, those
// that have not logged in as well. Nothing is held while one is looked at, so it
// may have ended meanwhile.
func (s *Server) Sessions() iter.Seq[SessionInfo] {
	return func(yield func(SessionInfo) bool) {
		for _, ss := range s.snapshot() {
			if !yield(ss.info()) {
				return
			}
		}
	}
}

func (s *Server) snapshot() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*session, 0, len(s.sessions))
	for ss := range s.sessions {
		list = append(list, ss)
	}
	return list
}

// End ends the sessions that match, and returns how many there were that nobody
// had ended before. Each finishes the command that it is in, is told "BYE [code]
// text" and closed; one that was handed to a Proxy, whose commands we do not
// know, is just closed. Whatever has not ended after Config.EndTime is cut off.
// End does not wait for any of this. A login that is under way is not seen: who
// ends a user's sessions has to see to new ones first.
func (s *Server) End(match func(SessionInfo) bool, why *imap.Error) int {
	return s.endNow(s.matching(match), why)
}

// EndOver is End spread evenly, in no order, over a time: that many clients which
// come back at once would be a storm. It returns when the last was told, or ctx
// is done; the number is that of those who were. Sessions that match but came
// later are not among them: call it again.
func (s *Server) EndOver(ctx context.Context, over time.Duration, match func(SessionInfo) bool, why *imap.Error) (told int) {
	list := s.matching(match)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	began := time.Now()
	for i, ss := range list {
		at := over / time.Duration(len(list)) * time.Duration(i)
		at += rand.N(over/time.Duration(len(list)) + 1)
		select {
		case <-time.After(time.Until(began.Add(at))):
		case <-ctx.Done():
			return told
		}
		told += s.endNow([]*session{ss}, why)
	}
	return told
}

func (s *Server) matching(match func(SessionInfo) bool) []*session {
	list := s.snapshot()
	n := 0
	for _, ss := range list {
		if match(ss.info()) {
			list[n] = ss
			n++
		}
	}
	clear(list[n:])
	return list[:n]
}

// endNow tells sessions to end, and cuts off those that do not.
func (s *Server) endNow(list []*session, why *imap.Error) (told int) {
	for _, ss := range list {
		if ss.card.ending.CompareAndSwap(nil, why) {
			ss.shutdown()
			list[told] = ss
			told++
		}
	}
	clear(list[told:])
	if list = list[:told]; told > 0 {
		time.AfterFunc(s.cfg.EndTime, func() { s.cutOff(list) })
	}
	return told
}

func (s *Server) cutOff(list []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ss := range list {
		if _, there := s.sessions[ss]; there {
			ss.abort()
		}
	}
}
