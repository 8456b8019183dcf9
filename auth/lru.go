package auth

import "container/list"

// lru is a map of at most max entries; the one not used for longest gives way.
// Its owner locks.
type lru[K comparable, V any] struct {
	max     int
	entries map[K]*list.Element
	order   *list.List // of *lruEntry[K, V], the last used in front
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{max: limit, entries: map[K]*list.Element{}, order: list.New()}
}

// get is the value of key, or nil. The pointer is good until the next put.
func (l *lru[K, V]) get(key K) *V {
	element := l.entries[key]
	if element == nil {
		return nil
	}
	l.order.MoveToFront(element)
	return &element.Value.(*lruEntry[K, V]).value
}

// put makes an entry or overwrites it, and returns the value's place.
func (l *lru[K, V]) put(key K, value V) *V {
	if old := l.get(key); old != nil {
		*old = value
		return old
	}
	if l.order.Len() >= l.max {
		oldest := l.order.Back()
		delete(l.entries, oldest.Value.(*lruEntry[K, V]).key)
		l.order.Remove(oldest)
	}
	entry := &lruEntry[K, V]{key, value}
	l.entries[key] = l.order.PushFront(entry)
	return &entry.value
}

// values are all values, the last used in front.
func (l *lru[K, V]) values() []V {
	all := make([]V, 0, l.order.Len())
	for e := l.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*lruEntry[K, V]).value)
	}
	return all
}

func (l *lru[K, V]) remove(key K) {
	if element := l.entries[key]; element != nil {
		l.order.Remove(element)
		delete(l.entries, key)
	}
}
