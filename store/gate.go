package store

import (
	"context"
	"slices"
	"sync"
)

// gate lets a limited number in at once. Those who work for a client go before
// those in the background, in order of arrival each.
type gate struct {
	mu      sync.Mutex
	free    int
	waiting [2][]chan struct{} // clients, background; closed when it is one's turn
}

type backgroundKey struct{}

// InBackground marks what is done under the context as no client's work: its
// opens wait until no client's does.
func InBackground(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

// enter waits for a place, or for the end of ctx.
func (g *gate) enter(ctx context.Context) error {
	class := 0
	if ctx.Value(backgroundKey{}) != nil {
		class = 1
	}
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.waiting[class] = append(g.waiting[class], turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	i := slices.Index(g.waiting[class], turn)
	if i >= 0 {
		g.waiting[class] = slices.Delete(g.waiting[class], i, i+1)
	}
	g.mu.Unlock()
	if i < 0 { // it was given a place meanwhile
		g.leave()
	}
	return ctx.Err()
}

// leave gives the place to who is next.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for class, queue := range g.waiting {
		if len(queue) > 0 {
			close(queue[0])
			g.waiting[class] = queue[1:]
			return
		}
	}
	g.free++
}
