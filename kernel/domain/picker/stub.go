package picker

const Slice = 2_000_000

type Client struct {
	ready bool
	last  int64
	vt    int64
}
type Picker struct{ all []*Client }

func (p *Picker) Add(weight, cap int) (*Client, error) {
	c := &Client{}
	p.all = append(p.all, c)
	return c, nil
}
func (p *Picker) Remove(c *Client) {
	for i := range p.all {
		if p.all[i] == c {
			p.all = append(p.all[:i], p.all[i+1:]...)
			return
		}
	}
}
func (p *Picker) Ready(c *Client, now int64)       { c.ready = true }
func (p *Picker) Sleep(c *Client, now int64)       { c.ready = false }
func (p *Picker) Charge(c *Client, ran, now int64) { c.vt += ran }
func (p *Picker) Pick(now int64) (*Client, int64) {
	var best *Client
	for _, c := range p.all {
		if c.ready && (best == nil || c.vt < best.vt) {
			best = c
		}
	}
	return best, 0
}
