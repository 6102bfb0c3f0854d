package prometheus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// A pattern, and what Go's regexp makes of it. One line of a file that a Rust test checks, too.
type regexpCase struct {
	Pattern string `json:"pattern"`
	// Whether Go refuses the pattern.
	Refused bool `json:"refused,omitempty"`
	Groups  int  `json:"groups,omitempty"`
	// For Regexp.Expand.
	Template string          `json:"template,omitempty"`
	Subjects []regexpSubject `json:"subjects,omitempty"`
}

type regexpSubject struct {
	Text string `json:"text"`
	// The whole match and each group, null for one that took no part; null for no match.
	Found    []*string `json:"found"`
	Expanded string    `json:"expanded,omitempty"`
	// Whether ^(?s:PATTERN)$ matches, as for a matcher.
	Whole bool `json:"whole,omitempty"`
}

const regexpCases = "../../../rules/promql/tests/regexp/cases.jsonl"

// The cases of the repository, written by TestWriteRegexpCases, hold for the Go at hand.
func TestRegexpCasesHoldForGo(t *testing.T) {
	file, err := os.ReadFile(regexpCases)
	if err != nil {
		t.Fatal(err)
	}
	var compared, refused, subjects int
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var written regexpCase
		if err := json.Unmarshal(lines.Bytes(), &written); err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, subject := range written.Subjects {
			texts = append(texts, subject.Text)
		}
		found := goCase(written.Pattern, written.Template, texts)
		compared++
		subjects += len(texts)
		if found.Refused {
			refused++
		}
		if !reflect.DeepEqual(found, written) {
			t.Errorf("%q: expected %s, found %+v", written.Pattern, lines.Bytes(), found)
		}
	}
	t.Logf("%d patterns compared, %d of them refused, %d texts", compared, refused, subjects)
}

// Writes REGEXP_CASES patterns to the file REGEXP_FILE, at random from REGEXP_SEED. scripts/regexps runs it.
func TestWriteRegexpCases(t *testing.T) {
	path := os.Getenv("REGEXP_FILE")
	if path == "" {
		t.Skip("REGEXP_FILE is not set")
	}
	count, err := strconv.Atoi(os.Getenv("REGEXP_CASES"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := strconv.ParseUint(os.Getenv("REGEXP_SEED"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	chance := regexpChance{rand.New(rand.NewPCG(seed, 0))}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	seen := map[string]bool{}
	write := func(pattern string) {
		if seen[pattern] {
			return
		}
		seen[pattern] = true
		if err := encoder.Encode(goCase(pattern, chance.template(), chance.subjects(pattern))); err != nil {
			t.Fatal(err)
		}
	}
	for _, pattern := range append(append([]string{}, chosenPatterns...), realPatterns...) {
		write(pattern)
	}
	for len(seen) < count {
		write(chance.pattern())
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func goCase(pattern, template string, texts []string) regexpCase {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return regexpCase{Pattern: pattern, Refused: true}
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl|syntax.DotNL)
	if err != nil {
		panic(err)
	}
	whole := regexp.MustCompile("^(?s:" + parsed.String() + ")$")
	written := regexpCase{Pattern: pattern, Groups: re.NumSubexp(), Template: template}
	for _, text := range texts {
		subject := regexpSubject{Text: text, Whole: whole.MatchString(text)}
		if places := re.FindStringSubmatchIndex(text); places != nil {
			for group := 0; group < len(places); group += 2 {
				if places[group] < 0 {
					subject.Found = append(subject.Found, nil)
					continue
				}
				found := text[places[group]:places[group+1]]
				subject.Found = append(subject.Found, &found)
			}
			subject.Expanded = string(re.ExpandString(nil, template, text, places))
		}
		written.Subjects = append(written.Subjects, subject)
	}
	return written
}

type regexpChance struct{ *rand.Rand }

func pick[T any](chance regexpChance, from []T) T { return from[chance.IntN(len(from))] }

// A pattern, rarely one that Go refuses.
func (chance regexpChance) pattern() string {
	for {
		pattern := chance.written()
		if _, err := regexp.Compile(pattern); err == nil || chance.IntN(3) == 0 {
			return pattern
		}
	}
}

// Text of the grammar, a change of a real pattern, or tokens in any order.
func (chance regexpChance) written() string {
	switch chance.IntN(8) {
	case 0:
		return chance.tokens(1 + chance.IntN(6))
	case 1, 2:
		return chance.mutated(pick(chance, realPatterns))
	case 3:
		return chance.mutated(chance.alternation(3))
	default:
		return chance.alternation(3)
	}
}

func (chance regexpChance) alternation(depth int) string {
	branches := make([]string, 1+max(0, chance.IntN(5)-2))
	for i := range branches {
		branches[i] = chance.sequence(depth)
	}
	return strings.Join(branches, "|")
}

func (chance regexpChance) sequence(depth int) string {
	var out strings.Builder
	for range chance.IntN(5) {
		out.WriteString(chance.part(depth))
		if chance.IntN(3) == 0 {
			out.WriteString(pick(chance, repetitions))
		}
	}
	return out.String()
}

func (chance regexpChance) part(depth int) string {
	choice := chance.IntN(12)
	switch {
	case choice < 4:
		return pick(chance, characters)
	case choice < 6:
		return pick(chance, escapes)
	case choice < 8:
		return chance.class()
	case choice < 9:
		return pick(chance, assertions)
	case depth > 0:
		return pick(chance, openings) + chance.alternation(depth-1) + ")"
	default:
		return pick(chance, oddities)
	}
}

func (chance regexpChance) class() string {
	var out strings.Builder
	out.WriteString(pick(chance, []string{"[", "[", "[", "[^"}))
	for range 1 + chance.IntN(4) {
		switch chance.IntN(4) {
		case 0:
			out.WriteString(pick(chance, classes))
		case 1:
			out.WriteString(pick(chance, classCharacters) + "-" + pick(chance, classCharacters))
		default:
			out.WriteString(pick(chance, classCharacters))
		}
	}
	return out.String() + "]"
}

func (chance regexpChance) tokens(count int) string {
	var out strings.Builder
	for range count {
		out.WriteString(pick(chance, pick(chance, [][]string{
			characters, escapes, classes, classCharacters, assertions, openings, repetitions, oddities,
		})))
	}
	return out.String()
}

// A pattern with some of its characters gone, doubled or replaced by a token.
func (chance regexpChance) mutated(pattern string) string {
	runes := []rune(pattern)
	for range 1 + chance.IntN(3) {
		at := chance.IntN(len(runes) + 1)
		until := min(len(runes), at+chance.IntN(3))
		middle := []rune(chance.tokens(chance.IntN(2)))
		if chance.IntN(4) == 0 {
			middle = append(append([]rune{}, runes[at:until]...), runes[at:until]...)
		}
		runes = append(append(append([]rune{}, runes[:at]...), middle...), runes[until:]...)
	}
	return string(runes)
}

// Texts that the pattern is likely to match, in part or not at all.
func (chance regexpChance) subjects(pattern string) []string {
	texts := []string{chance.text(chance.IntN(6))}
	if parsed, err := syntax.Parse(pattern, syntax.Perl); err == nil {
		for range 3 {
			var out strings.Builder
			chance.sample(parsed, &out)
			text := strings.ToValidUTF8(out.String(), "\ufffd")
			switch chance.IntN(4) {
			case 0:
				text = chance.text(2) + text + chance.text(2)
			case 1:
				text = chance.changed(text)
			}
			texts = append(texts, text)
		}
	}
	return texts
}

func (chance regexpChance) text(length int) string {
	var out strings.Builder
	for range length {
		out.WriteString(pick(chance, alphabet))
	}
	return out.String()
}

func (chance regexpChance) changed(text string) string {
	runes := []rune(text)
	if len(runes) == 0 {
		return chance.text(1)
	}
	at := chance.IntN(len(runes))
	return string(runes[:at]) + chance.text(chance.IntN(2)) + string(runes[at+1:])
}

// A text that the expression matches, but for its assertions.
func (chance regexpChance) sample(re *syntax.Regexp, out *strings.Builder) {
	if out.Len() > 60 {
		return
	}
	times := func(low, high int) {
		for range low + chance.IntN(high-low+1) {
			chance.sample(re.Sub[0], out)
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 && chance.IntN(2) == 0 {
				r = simpleFold(r)
			}
			out.WriteRune(r)
		}
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			at := 2 * chance.IntN(len(re.Rune)/2)
			low, high := re.Rune[at], min(re.Rune[at+1], re.Rune[at]+200)
			if r := low + rune(chance.IntN(int(high-low)+1)); settled(r) {
				out.WriteRune(r)
			} else {
				out.WriteString(pick(chance, alphabet))
			}
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		out.WriteString(pick(chance, alphabet))
	case syntax.OpStar:
		times(0, 3)
	case syntax.OpPlus:
		times(1, 3)
	case syntax.OpQuest:
		times(0, 1)
	case syntax.OpRepeat:
		high := re.Max
		if high < 0 {
			high = re.Min + 2
		}
		times(re.Min, high)
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range re.Sub {
			chance.sample(sub, out)
		}
	case syntax.OpAlternate:
		chance.sample(pick(chance, re.Sub), out)
	}
}

func (chance regexpChance) template() string {
	var out strings.Builder
	for range 1 + chance.IntN(4) {
		out.WriteString(pick(chance, templates))
	}
	return out.String()
}

// Whether it is the same to Go, which has Unicode 15, and to the regex crate, which has 16: that knows more characters,
// two of which are the capitals of old ones.
func settled(r rune) bool {
	return r < 0x3000 && r != 'ɤ' && r != 'ƛ' && (unicode.IsGraphic(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co))
}

func simpleFold(r rune) rune {
	folded := []rune(regexp.MustCompile("(?i)" + regexp.QuoteMeta(string(r))).FindString(string(r)))
	for _, other := range "aAbBkKsS\u017f\u212aéÉβΒϐ" {
		if ok, _ := regexp.MatchString("(?i)^"+regexp.QuoteMeta(string(r))+"$", string(other)); ok && other != r {
			return other
		}
	}
	if len(folded) == 1 {
		return folded[0]
	}
	return r
}

var alphabet = []string{
	"a", "b", "c", "A", "B", "k", "K", "s", "S", "\u017f", "\u212a", "0", "1", "9", "_", "-", ".", " ", "\t", "\v", "\n", "\r",
	"x", "y", "z", "{", "}", "[", "]", "&", "~", "^", "<", ">", "\\", "é", "É", "β", "Β", "ϐ", "日", "\U0001f600", "\x00", "total", "\ufffd",
}

var characters = []string{
	"a", "b", "c", "ab", "A", "k", "s", "K", "0", "1", "_", "-", " ", ".", "{", "}", "]", "&&", "~~", "--", "<", ">", "#", "é", "β", "日",
	"\n", "x{", "{,2}", "{1", "{01}", "a{ 1}", "\u017f", "\u212a", "/", ":", "=", ",", "'", "`", "\"",
}

var escapes = []string{
	`\d`, `\D`, `\s`, `\S`, `\w`, `\W`, `\n`, `\t`, `\v`, `\a`, `\f`, `\r`, `\.`, `\\`, `\-`, `\_`, `\<`, `\>`, `\/`, `\&`, `\~`, `\#`, `\ `,
	`\x41`, `\x6b`, `\x{212A}`, `\x{0000041}`, `\x{10FFFF}`, `\101`, `\0`, `\08`, `\155`, `\377`, `\12`, `\pL`, `\PL`, `\pN`, `\p{Greek}`,
	`\P{Greek}`, `\p{^Lu}`, `\P{^Lu}`, `\p{Lu}`, `\p{Ll}`, `\PN`, `\pZ`, `\pP`, `\p{Latin}`, `\p{Any}`, `\P{Any}`, `\Qa.b\E`, `\Q*+\E`, `\Q\E`,
	`\{`, `\}`, `\[`, `\]`, `\^`, `\$`, `\|`, `\(`, `\)`, `\*`, `\+`, `\?`, `\"`, `\@`, `\%`, `\!`,
}

var classes = []string{
	`\d`, `\D`, `\s`, `\S`, `\w`, `\W`, `[:alpha:]`, `[:^alpha:]`, `[:word:]`, `[:^word:]`, `[:digit:]`, `[:space:]`, `[:upper:]`, `[:lower:]`,
	`[:punct:]`, `[:xdigit:]`, `[:^space:]`, `[:ascii:]`, `[:cntrl:]`, `[:print:]`, `[:graph:]`, `[:blank:]`, `[:alnum:]`, `\pL`, `\PL`,
	`\p{Lu}`, `\P{Lu}`, `\p{Greek}`, `\p{^Greek}`, `&&`, `--`, `~~`, `[a`, `[`, `&`, `~`, `-`, `^`, `.`, `$`, `|`, `(`, `*`,
}

var classCharacters = []string{
	"a", "b", "z", "A", "K", "k", "s", "S", "0", "9", "_", "-", "[", "]", "^", "&", "~", ".", " ", "é", "β", "日", "\n", "+", "/", ",", "{", "<",
	`\n`, `\t`, `\x41`, `\x{212A}`, `\101`, `\0`, `\]`, `\[`, `\-`, `\^`, `\\`, `\.`, `\_`, `\<`, `\x{10FFFF}`, `\377`, `\Q`,
}

var assertions = []string{"^", "$", `\b`, `\B`, `\A`, `\z`, "", "(?m)^", "(?m)$", "(?m:^)", "(?m:$)", "(?-m)$"}

var openings = []string{
	"(", "(", "(", "(?:", "(?:", "(?i:", "(?s:", "(?m:", "(?U:", "(?i-s:", "(?-i:", "(?P<n>", "(?<n>", "(?P<name>", "(?<1a>", "(?P<_>", "(?P<01>",
}

var repetitions = []string{
	"*", "+", "?", "*?", "+?", "??", "{2}", "{0}", "{1}", "{0,1}", "{1,2}", "{2,}", "{0,}", "{1,3}?", "{2}?", "{0,2}?", "{2,1}", "**", "+*", "{2}{3}",
	"?*", "(?i)*", "(?i)?", "(?s)+", "(?)*", `\Q\E*`, `\Q\E?`,
}

var oddities = []string{
	"(?i)", "(?s)", "(?m)", "(?U)", "(?-i)", "(?-s)", "(?-U)", "(?i-s)", "(?ii)", "(?i-i)", "(?)", "(?:)", "()", "(|a)", "(a|)", "(a|b*)*", "(|a)*",
	"(|a)+", "(a*)*", "(a*)+", "(a?)*?", "(a{0})", "(?:a|ab)(?:c|bcd)", "(?x)", "(?i-)", "(?-)", "(?u)", "(?P=n)", "(?=a)", "(?!a)", "(?<=a)",
	"(?P<n", "(?P<n>", "(?P<é>a)", "(?P<>a)", "(?#c)", "(?>a)", `\Z`, `\C`, `\G`, `\1`, `\8`, `\e`, `\u0041`, `\x`, `\x{`, `\x{}`, `\x{110000}`, `\xg`,
	`\p`, `\p{`, `\p{}`, `\p{Nope}`, `\p{Grek}`, `\p{L`, `\h`, `\R`, `\X`, `\é`, `\`, `\E`, `\Q`, `\Qa`, `\b{start}`, "[", "[]", "[]a]", "[^]a]", "[^]", "[a",
	"[[:nope:]]", "[[:alpha:]", "[[:alpha]]", "[:alpha:]", `[a-\d]`, `[\d-a]`, `[\d-\w]`, "[z-a]", "[a-]", "[-a]", "[--/]", "[--]", "[---]", "[+--]", "[a--b]",
	"[a&&b]", "[a~~b]", "[[a]&&[b]]", `[\pN-z]`, `[\x{D7FF}-\x{E000}]`, `[^\x{D800}-\x{DFFF}]`, `[^\x00-\x{10FFFF}]`, "[\\Q]\\E]",
	"x{1000}", "x{1001}", "x{,1000}", "x{1000,}", "x{2,1001}", "(?:x{10}){100}", "(?:x{10}){101}", "(?:x{2}){0}{2}", "(?:x{500}){0}",
	"(?:(?:x{500}){0}){3}", "(?:x{0}){1000}", "x{99999999999}", "x{1,99999999999}", "*", "+", "?", "|", "||", "(|", ")", "a|*", "(*)", "^*", "$+", `\b?`, `\B{2}`,
}

var chosenPatterns = []string{
	`\Qx.y\E`, `^x{`, `[[a-z]_x`, `a{,3}`, `^[x&&y]`, `[\w-.]+`, `a{,2}m`, `m{`, `[[m]`, `\155`, `[\d-z]`, `\Q`, `[[a]`, `\0`, `[a&&b]`, `[a--b]`, `[a~~b]`,
	`m**`, `a{1001}`, `(?x)a`, `\u006d`, `\<a\>`, `\C`, `\Z`, `\z`, `(x{1000}){1000}`, `a{2,1}`, `.`, `.+`, `(?s).+`, `.*$`, `(?P<n>a)(?P<n>b)`,
	`(?P<1>a)$1`, `\pN+`, `\p{Greek}`, `\P{^L}`, `(?i)k`, `(?i)[^k]`, `(?i)\w`, `(?i)\W`, `(?i)[\W]`, `(?i)[[:^word:]]`, `(?i)ſ`, `(?i)\x{212A}`,
	`\bé\b`, `\Bé`, `é\B`, `\B`, `(a){0}(b)`, `(a){0}`, `(?U)a+`, `(?U)a+?`, `a(?i)b|c`, `(a(?i)b)c`, `a*(?i)?b`, `x{2}(?U){2}`, `a(?:)*`,
}

// As rule files and queries have them.
var realPatterns = []string{
	"^(.*)_total$", "^(.*)_seconds_total$", "^container_(.*)_seconds_total$", "^container_.*_total", "_total$", "^.*_total$", ".*", "^nginx_.*", "^http_requests_total$",
	"^(.*)_(?:sum|count)$", "^container_(.*)$", "^(?P<base>.*)_bucket$", "^istio_.*", "^jmx_(.+)_total$", "(.+)", "^$", "web-[0-9]+", "2..", "5..|4..",
	"^[^_]+_(.*)$", `^vllm[:_](\w+)$`, `^([a-z]+)\.([a-z]+)$`, "api|web|db", "prod-.*", ".+-canary", `kube-system|monitoring|istio-system`, `^dcgm_fi_dev_(?P<metric>[a-z_]+)$`,
	`([^:]+)(?::\d+)?`, `(\d+)\.(\d+)\.(\d+)\.(\d+):?(\d*)`, `(?i)^(get|post)$`, `^/api/v[12]/.+`, `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, `^rabbitmq_queue_messages(_ready)?$`,
	`queue_(depth|length)_\d{1,3}`, `\w+-\w{5,10}-[a-z0-9]{5}`, `(.*)-[^-]+-[^-]+`, `[\w.-]+`, `/healthz|/readyz|/metrics`, `(?s).*error.*`,
}

var templates = []string{
	"$1", "${1}", "$0", "${0}", "$2", "$n", "${n}", "${name}", "$name", "$$", "$", "${", "${1", "${}", "$1_x", "$1-x", "${1}_x", "$01", "$10", "$1a", "${1a}", "$é",
	"${-}", "x", "_", "-", "é", "$_", "$01x", "${01}", "$9999999999", "$٣", "$ⅷ", "{$1}", "per_second", "$1$2", "$K",
}
