// hogs is an echo server beside goroutines that compute without end: hogs --port P [--workers N]
// [--hogs N, a worker] [--counters FILE]. The program in perf/preempt/hogs.c does the same with gyre.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	steps   = 1024
	hogsMax = 1024
)

// One cache line each; perf/bench/hogs.py reads them.
type slot struct {
	loops, sum uint64
	_          [6]uint64
}

func hog(s *slot) {
	x := uint64(88172645463325252)
	for loops := uint64(1); ; loops++ {
		for i := 0; i < steps; i++ { // xorshift: each step waits for the one before
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		atomic.StoreUint64(&s.sum, x)
		atomic.StoreUint64(&s.loops, loops)
	}
}

func serve(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func mapSlots(path string) *[hogsMax]slot {
	var slots *[hogsMax]slot
	if path == "" {
		return new([hogsMax]slot)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0600)
	if err != nil {
		log.Fatal(err)
	}
	size := int(unsafe.Sizeof(*slots))
	if err := file.Truncate(int64(size)); err != nil {
		log.Fatal(err)
	}
	memory, err := syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_SHARED)
	if err != nil {
		log.Fatal(err)
	}
	return (*[hogsMax]slot)(unsafe.Pointer(&memory[0]))
}

func main() {
	port := flag.Int("port", 0, "")
	workers := flag.Int("workers", 1, "GOMAXPROCS")
	hogs := flag.Int("hogs", 0, "hogs for each worker")
	counters := flag.String("counters", "", "file of counters")
	flag.Parse()
	runtime.GOMAXPROCS(*workers)
	slots := mapSlots(*counters)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	for i := 0; i < *hogs**workers; i++ {
		go hog(&slots[i])
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	for {
		c, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c)
	}
}
