package main

import "sync"

func init() {
	works["mutex"] = work{procs: 1, run: mutexes}
	works["mutex_contended"] = work{procs: 2, run: contended}
	works["rwmutex_read"] = work{procs: 1, run: readLocks}
	works["waitgroup"] = work{procs: 1, run: waitgroups}
	works["once"] = work{procs: 1, run: onces}
	works["pool"] = work{procs: 1, run: pools}
	works["cond_signal"] = work{procs: 1, run: signals}
}

func mutexes(count int) {
	var m sync.Mutex
	for i := 0; i < count; i++ {
		m.Lock()
		m.Unlock()
	}
}

const contenders = 8

// contest is what the contenders fight for; all is guarded by the mutex.
type contest struct {
	mutex   sync.Mutex
	left    int
	samples [2]int // where the holder was
	taken   [contenders]int
}

func contended(count int) {
	c := &contest{left: count}
	var all sync.WaitGroup
	for i := 0; i < contenders; i++ {
		i := i
		all.Add(1)
		go func() {
			mine := 0
			for {
				c.mutex.Lock()
				if c.left == 0 {
					c.taken[i] = mine
					c.mutex.Unlock()
					break
				}
				if c.left%sampleEvery == 0 {
					c.samples[proc()]++
				}
				c.left--
				c.mutex.Unlock()
				mine++
			}
			all.Done()
		}()
	}
	all.Wait()
	least, most := c.taken[0], c.taken[0]
	for _, n := range c.taken {
		if n < least {
			least = n
		}
		if n > most {
			most = n
		}
	}
	extra["fairness"] = float64(most) / float64(least+1)
	few := c.samples[0]
	if c.samples[1] < few {
		few = c.samples[1]
	}
	extra["both"] = 2 * float64(few) / float64(c.samples[0]+c.samples[1]+1)
}

func readLocks(count int) {
	var m sync.RWMutex
	for i := 0; i < count; i++ {
		m.RLock()
		m.RUnlock()
	}
}

func waitgroups(count int) {
	var g sync.WaitGroup
	for i := 0; i < count; i++ {
		g.Add(1)
		g.Done()
	}
}

func onces(count int) {
	var once sync.Once
	for i := 0; i < count; i++ {
		once.Do(func() {})
	}
}

func pools(count int) {
	pool := sync.Pool{New: func() any { return new([1024]byte) }}
	for i := 0; i < count; i++ {
		pool.Put(pool.Get())
	}
}

func signals(count int) {
	cond := sync.NewCond(&sync.Mutex{})
	for i := 0; i < count; i++ {
		cond.Signal()
	}
}
