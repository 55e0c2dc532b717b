// Package errgroup is as much of golang.org/x/sync/errgroup as the documents use, so that their
// snippets build where no module can be fetched.
package errgroup

import (
	"context"
	"sync"
)

type Group struct {
	wg     sync.WaitGroup
	once   sync.Once
	cancel context.CancelFunc
	room   chan struct{}
	err    error
}

func WithContext(parent context.Context) (*Group, context.Context) {
	ctx, cancel := context.WithCancel(parent)
	return &Group{cancel: cancel}, ctx
}

func (g *Group) SetLimit(n int) { g.room = make(chan struct{}, n) }

func (g *Group) Go(f func() error) {
	if g.room != nil {
		g.room <- struct{}{}
	}
	g.wg.Go(func() {
		if err := f(); err != nil {
			g.once.Do(func() { g.err = err; g.cancel() })
		}
		if g.room != nil {
			<-g.room
		}
	})
}

func (g *Group) Wait() error {
	g.wg.Wait()
	g.cancel()
	return g.err
}
