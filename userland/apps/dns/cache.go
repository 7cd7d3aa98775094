// The answers that are remembered, and for how long.

package main

import (
	"container/list"
	"sync"
	"time"

	dm "golang.org/x/net/dns/dnsmessage"
)

// For how long at most.
const (
	longestTTL  = 24 * time.Hour
	longestNo   = 3 * time.Hour   // that something is not there (RFC 2308, section 5)
	failureTime = 5 * time.Second // that nobody could tell (RFC 9520, section 3.2)
)

const (
	largestEntry = 4 << 10 // bytes; longer answers are not remembered
	entryCost    = 400     // bytes that an entry needs besides its message and name
)

// lifetime returns for how long an answer to k may be remembered, 0 for not at all.
func lifetime(k key, m *dm.Message) time.Duration {
	if m.Truncated {
		return 0
	}
	if m.RCode != dm.RCodeSuccess && m.RCode != dm.RCodeNameError {
		return failureTime
	}
	ttl := uint32(longestTTL / time.Second)
	found := false
	for _, r := range m.Answers {
		ttl = min(ttl, r.Header.TTL)
		found = found || r.Header.Type == k.kind
	}
	if found && m.RCode == dm.RCodeSuccess {
		for _, r := range m.Authorities {
			ttl = min(ttl, r.Header.TTL)
		}
		return time.Duration(ttl) * time.Second
	}
	// It is not there: the zone's SOA tells for how long that holds (RFC 2308, section 5).
	for _, r := range m.Authorities {
		if soa, ok := r.Body.(*dm.SOAResource); ok {
			ttl = min(ttl, r.Header.TTL, soa.MinTTL, uint32(longestNo/time.Second))
			return time.Duration(ttl) * time.Second
		}
	}
	return 0
}

// cache remembers answers, those that were asked for last. Times are since an epoch that
// the caller picks.
type cache struct {
	most int // bytes

	mu    sync.Mutex
	used  int // bytes
	of    map[key]*list.Element
	order list.List // of *entry, the last that was asked for in front
}

// entry is a remembered answer.
type entry struct {
	key          key
	message      []byte // without its OPT record
	since, until time.Duration
}

func (e *entry) cost() int { return len(e.message) + len(e.key.name) + entryCost }

func newCache(most int) *cache { return &cache{most: most, of: map[key]*list.Element{}} }

// put remembers the answer to k, if it may be remembered.
func (c *cache) put(k key, m *dm.Message, now time.Duration) {
	life := lifetime(k, m)
	if life <= 0 {
		return
	}
	b, err := m.Pack()
	if err != nil || len(b) > largestEntry {
		return
	}
	e := &entry{k, b, now, now + life}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.of[k]; old != nil {
		c.drop(old)
	}
	for c.used+e.cost() > c.most {
		last := c.order.Back()
		if last == nil {
			return
		}
		c.drop(last)
	}
	c.of[k] = c.order.PushFront(e)
	c.used += e.cost()
}

func (c *cache) drop(l *list.Element) {
	e := c.order.Remove(l).(*entry)
	delete(c.of, e.key)
	c.used -= e.cost()
}

// get returns the answer to k with the time left in its TTLs, nil if there is none.
func (c *cache) get(k key, now time.Duration) *dm.Message {
	c.mu.Lock()
	l := c.of[k]
	if l == nil {
		c.mu.Unlock()
		return nil
	}
	e := l.Value.(*entry)
	if now >= e.until || now < e.since {
		c.drop(l)
		c.mu.Unlock()
		return nil
	}
	c.order.MoveToFront(l)
	c.mu.Unlock()

	m := new(dm.Message)
	if m.Unpack(e.message) != nil {
		return nil
	}
	age := uint32((now - e.since) / time.Second)
	most := uint32(longestTTL / time.Second)
	for _, section := range [][]dm.Resource{m.Answers, m.Authorities, m.Additionals} {
		for i := range section {
			ttl := min(section[i].Header.TTL, most)
			section[i].Header.TTL = ttl - min(age, ttl)
		}
	}
	return m
}
