package store

// RightsChanged has those be told who have a mailbox open whose name match finds: what they
// may do can be different by something that is not in the mail. It returns whose mail is
// open. match is called with a lock held.
func (s *Store) RightsChanged(match func(mailbox string) bool) (users []string) {
	s.mu.Lock()
	var open []*account
	for _, p := range s.accounts {
		if p.account != nil {
			open = append(open, p.account)
		}
	}
	s.mu.Unlock()
	for _, a := range open {
		users = append(users, a.user)
		a.rightsChanged(match)
	}
	return users
}

func (a *account) rightsChanged(match func(mailbox string) bool) {
	a.mu.Lock()
	for _, b := range a.st.boxes {
		if match(b.name) {
			a.st.note(b, event{kind: eventRights})
		}
	}
	wake, observers := a.st.watchers(), a.observers
	a.mu.Unlock()
	callAll(wake, observers)
}
