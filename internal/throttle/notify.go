package throttle

import "sync"

// broadcast wakes all goroutines that wait for a change. The zero value is ready to use.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns a channel that the next send closes.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) send() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// queue passes values to a function in the order of their pushes. drain calls the
// function without the lock that the pusher held.
type queue[T any] struct {
	tell func(T) // nil: push discards values

	mu    sync.Mutex
	items []T
	busy  bool
}

func (q *queue[T]) push(v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.tell != nil {
		q.items = append(q.items, v)
	}
}

// drain passes queued values on, unless another goroutine already does.
func (q *queue[T]) drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy {
		return
	}
	q.busy = true
	for len(q.items) > 0 {
		v := q.items[0]
		q.items = q.items[1:]
		q.mu.Unlock()
		q.tell(v)
		q.mu.Lock()
	}
	q.busy = false
}
