package qemutest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// conformance are the tests of skywalk 7.2, by section. Braces stand for one of what is in
// them.
var conformance = map[string]string{
	"rings and slots": `noop crash assert features
		oneslot{us,up,uk,ks,kp,kk} nslots{us,up,uk,ks,kp,kk} mslots{us,up,uk,ks,kp,kk} mmslots{us,up,uk,ks,kp,kk}
		ringidtx ringidrx fullupipe upipepeerclosure pllupipe pllutx{s,p,k} pllurx{s,p,k} debug_verify_{u,k}
		kqueue_basic kqueue_lowat_{chan,note}_{slots,bytes}`,
	"close and teardown": `shutdown{us,up,uk,ks,kp,kk} shutdown2{us,up,uk,ks,kp,kk} oneslotuk_defunct closekqk closecfd closenfd
		readcfd writecfd readnfd writenfd teardown teardownb teardownr teardownz`,
	"misbehaviour": `writeif readsmap writesmap writering badring{t,r}{l,p,k,s} change_len big_len internalizemetadata`,
	"binding":      `bindupipe{anon,key} bindfsw{anon,key} bindnetifkey netifcompat{a,b,c} netiffsw netifdelete utun27302538{a,b,c,d} utun27646755 utunleak utunloop ipsecloop`,
	"flows and names": `flowswitch_ns_reserve flowswitch_ns_reserve2 flowreq flowreqll flowconfig flowlookup libcuckoo restricted_port
		listener listener_stress listener_reuse listen_stress listenertcprst fsw29301703{a,b,c} fswbind{any,0,1,2,5,25,512}
		mf{10,100}x{10,100} mf1xall mc{10,100}x{10,100} steering verifynxadv
		parentchildflow parentchildflown parentchildflow_offset_400 parentchildflown_offset_400 mpprotons mp100noop`,
	"data": `cksum copy_cksum_single copy_cksum_multi
		reass reass_default_setting reass_timeout reass_bad_fraglen reass_atomic reass_fuzz_queue_limit udpfrags badfrags
		xferudp xferudpn xferudpnsp xferudpfcs xferudpnfcs xferudptrailer xferudpntrailer xferudplong xferudplongn
		xferudpoverwhelm xferudpoverwhelmn xferudpoverwhelmnsp xferudpoverwhelmlong xferudpoverwhelmlongn
		xferudpping xferudppingn xferudpping1 xferudpping1n xferudpping1wrong xferudppinglong xferudppinglongn xferudppingn_mb
		xferudpping_aqm xferudppingn_aqm xferudppingn_wmm xferudppingnll xferudppingllink xferudppingllink_wmm xferudppingllink_multi
		xferrdudpping xferudpwitherrors xferudpwitherrorscompat xfertcpportzero xferudpportzero xfertcpsynflood xfertcprstflood
		xferflowmatch xferflowcleanup xfersetuponly xfersetuponlyn fastlane rfc4594 csumoffload csumoffloadn
		netifdirecttxrx netifdirecttxrxsp netifdirectifadv netifdirectchanevents netifdirectexpiryevents
		filternative filtercompat ifadv chanevents chaneventsasync`,
	"memory": `memory`,
}

// alternatives returns what a word with braces stands for.
func alternatives(word string) (list []string) {
	before, rest, ok := strings.Cut(word, "{")
	if !ok {
		return []string{word}
	}
	choice, after, _ := strings.Cut(rest, "}")
	for one := range strings.SplitSeq(choice, ",") {
		list = append(list, alternatives(before+one+after)...)
	}
	return list
}

// notApplicable is what needs no counterpart (skywalk 9).
var notApplicable = regexp.MustCompile(`pageable|mbuf|NECP|\bPF\b|ipsec|asleep`)

// differs is where a row says why something is done in another way here.
var differs = regexp.MustCompile(`\(nexus\.md#what-differs-from-skywalk-and-why\)`)

// TestConformanceList: docs/conformance.md has a row for each test of skywalk 7.2, with its
// state. One that is tested names its tests, and a test names it; one that is not says why it is
// done in another way, or which thing it is about that there need not be.
func TestConformanceList(t *testing.T) {
	text, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.SplitN(line, "|", 4)
		if len(cells) != 4 {
			continue
		}
		for _, quoted := range regexp.MustCompile("`([a-zA-Z0-9_{},]+)`").FindAllStringSubmatch(cells[1], -1) {
			for _, name := range alternatives(quoted[1]) {
				if rows[name] != "" {
					t.Errorf("%s has two rows", name)
				}
				rows[name] = strings.TrimSpace(cells[2] + cells[3])
			}
		}
	}
	sources := testSources(t)
	count := 0
	for section, words := range conformance {
		for _, word := range strings.Fields(words) {
			for _, name := range alternatives(word) {
				count++
				row := rows[name]
				state, _, _ := strings.Cut(row, ":")
				switch {
				case row == "":
					t.Errorf("%s: %s has no row", section, name)
				case state == "tested" || state == "partly":
					if !docTest.MatchString(row) {
						t.Errorf("%s: %s is %s and names no test", section, name, state)
					}
					if !sources[name] {
						t.Errorf("%s: no test names %s", section, name)
					}
				case state == "differs":
					if !differs.MatchString(row) {
						t.Errorf("%s: %s does not say why: %s", section, name, row)
					}
				case state == "n/a":
					if !notApplicable.MatchString(row) {
						t.Errorf("%s: %s is about something that there is: %s", section, name, row)
					}
				default:
					t.Errorf("%s: %s has no state: %s", section, name, row)
				}
			}
		}
	}
	if count < 200 {
		t.Errorf("%d names", count)
	}
}

// testSources returns the names that tests say they are: the words of the comments of test
// functions, and strings with which cases are named.
func testSources(t *testing.T) map[string]bool {
	t.Helper()
	words := map[string]bool{}
	word := regexp.MustCompile(`\w+`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && (path == "../build" || path == "../.git") {
			return fs.SkipDir
		}
		if err != nil || d.Name() == "conformance_test.go" || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.FuncDecl:
				if testFunction.MatchString(x.Name.Name) {
					for _, w := range word.FindAllString(x.Doc.Text(), -1) {
						words[w] = true
					}
				}
			case *ast.BasicLit:
				text, err := strconv.Unquote(x.Value)
				if names := caseNames.FindString(text); err == nil && names != "" {
					for _, w := range word.FindAllString(names, -1) {
						words[w] = true
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return words
}

var testFunction = regexp.MustCompile(`^(Test|Fuzz)[A-Z]`)

// caseNames are in parentheses at the end of what a case says it is, or are all of it.
var caseNames = regexp.MustCompile(`^\w+$|\([\w, ]+\)$`)
