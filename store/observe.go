package store

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/roost-mail/roost/mailbox"
)

var _ mailbox.Observer = (*Session)(nil)

// observer is a session that hears of every change of its account.
type observer struct {
	view     view
	metadata mailbox.MetadataLog[uint32] // by mailbox, 0: the account's; under account.mu

	mu     sync.Mutex // guards notify
	notify func()     // nil once stopped
}

func (o *observer) call() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.notify != nil {
		o.notify()
	}
}

// Observe implements mailbox.Observer.
func (s *Session) Observe(_ context.Context, _ []string, notify func()) (stop func(), err error) {
	o := &observer{view: s.view, notify: notify}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	s.account.observers = append(s.account.observers, o)
	s.observer = o
	return func() { s.unobserve(o) }, nil
}

func (s *Session) unobserve(o *observer) {
	s.mu.Lock()
	s.account.observers = slices.DeleteFunc(slices.Clone(s.account.observers), func(p *observer) bool { return p == o })
	if s.observer == o {
		s.observer = nil
	}
	s.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notify = nil
}

// Overview implements mailbox.Observer.
func (s *Session) Overview(ctx context.Context) ([]mailbox.Glance, error) {
	s.settle(ctx)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(); err != nil || s.observer == nil {
		return nil, err
	}
	all := make([]mailbox.Glance, 0, len(s.st.boxes))
	for _, b := range s.st.boxes {
		all = append(all, mailbox.Glance{Name: b.name, Readable: true, Status: s.counters(b)})
	}
	slices.SortFunc(all, func(a, b mailbox.Glance) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// MetadataChanges implements mailbox.Observer.
func (s *Session) MetadataChanges(context.Context) ([]mailbox.MetadataChange, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil || s.observer == nil {
		return nil, err
	}
	return s.observer.metadata.Take(func(id uint32) (string, bool) {
		if id == 0 {
			return "", true
		}
		b := s.st.boxes[id]
		if b == nil {
			return "", false
		}
		return b.name, true
	})
}

// noteMetadata remembers the annotations that t has changed, for the observers who
// may see them. What a mailbox was made with has not changed. The caller holds
// a.mu.
func (a *account) noteMetadata(t *txn) {
	if len(a.observers) == 0 {
		return
	}
	made := map[uint32]bool{}
	for i := range t.entries {
		switch r := t.entries[i].rec.(type) {
		case *recCreate:
			made[r.box] = true
		case *recMetadata:
			for _, o := range a.observers {
				if !made[r.box] && (r.user == "" || r.user == o.view.acting) {
					o.add(r)
				}
			}
		}
	}
}

func (o *observer) add(r *recMetadata) {
	for _, e := range r.entries {
		o.metadata.Add(r.box, e.Name)
	}
}
