package member

// Health is how a member is, as it knows itself.
type Health struct {
	Led     bool   // it hears of a leader; without one nothing can be written
	Leads   bool   // it is the leader
	Votes   bool   // it is no newcomer that has to catch up first
	Behind  uint64 // how many agreed changes it has not made yet
	Bytes   int64  // of its data
	Limit   int64  // at which nothing can be written
	Alarmed bool   // a member has come to the limit, or found its data damaged
}

// Health may be called at any time after Start, by any number of goroutines. It asks
// nobody.
func (m *Member) Health() Health {
	s := m.server.Server
	applied := s.AppliedIndex() // first, as committed is ahead of it
	h := Health{
		Led: s.Lead() != 0, Leads: s.Lead() == uint64(s.MemberID()), Votes: !s.IsLearner(),
		Behind: s.CommittedIndex() - applied, Limit: quota, Alarmed: len(s.Alarms()) > 0,
	}
	if b := s.Backend(); b != nil {
		h.Bytes = b.Size()
	}
	return h
}
