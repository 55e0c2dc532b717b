//go:build xsync

package main

import (
	"context"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

func init() {
	works["semaphore"] = work{procs: 1, run: semaphores}
	works["group_member"] = work{procs: 1, run: members}
}

func semaphores(count int) {
	s := semaphore.NewWeighted(3)
	for i := 0; i < count; i++ {
		if s.Acquire(context.Background(), 1) != nil {
			panic("not acquired")
		}
		s.Release(1)
	}
}

// Groups of a hundred members.
func members(count int) {
	for count > 0 {
		group, _ := errgroup.WithContext(context.Background())
		for i := 0; i < 100; i++ {
			group.Go(func() error { return nil })
		}
		if group.Wait() != nil {
			panic("failed")
		}
		count -= 100
	}
}
