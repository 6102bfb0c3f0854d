package naming

import (
	"fmt"
	"math/rand"
	"strings"
)

type sample struct {
	label bool
	text  string
}

// Templates by hand, then as many generated ones: two thirds by the grammar, the others broken at random.
func samples(seed int64, count int) []sample {
	var all []sample
	for _, text := range strings.Split(byHand, "\n") {
		if text != "" {
			all = append(all, sample{text: strings.NewReplacer("␤", "\n", "␉", "\t", "␍", "\r").Replace(text)})
		}
	}
	for _, text := range labelsByHand {
		all = append(all, sample{label: true, text: text})
	}
	g := generator{rand.New(rand.NewSource(seed)), nil, 0}
	seen := map[string]bool{}
	for made := 0; made < count; {
		text := g.template()
		for g.Intn(3) == 0 {
			text = g.broken(text)
		}
		if len(text) > 400 || seen[text] {
			continue
		}
		seen[text] = true
		all = append(all, sample{text: text})
		made++
	}
	return all
}

type generator struct {
	*rand.Rand
	variables []string
	ranges    int
}

func (g *generator) pick(choices ...string) string { return choices[g.Intn(len(choices))] }

func (g *generator) template() string {
	g.variables, g.ranges = nil, 0
	var b strings.Builder
	defined := ""
	if g.Intn(8) == 0 {
		defined = g.pick("t", "a b", "é")
		fmt.Fprintf(&b, "<<define %q>>%s<<end>>", defined, g.list(1))
		g.variables = nil
	}
	b.WriteString(g.list(3))
	if defined != "" {
		fmt.Fprintf(&b, "<<template %q%s>>", defined, g.pick("", " .", " .Series", " $.GroupBySlice", " (len .GroupBy)", " | print 1"))
	}
	return b.String()
}

func (g *generator) list(depth int) string {
	var b strings.Builder
	for range 1 + g.Intn(3) {
		b.WriteString(g.node(depth))
	}
	return b.String()
}

func (g *generator) open() string  { return g.pick("<<", "<<", "<<", "<<- ", "<< ") }
func (g *generator) close() string { return g.pick(">>", ">>", ">>", " ->>", " >>") }

func (g *generator) node(depth int) string {
	mark := len(g.variables)
	block := func(pipe, body, otherwise string) string {
		g.variables = g.variables[:mark]
		return g.open() + pipe + g.close() + body + otherwise + "<<end>>"
	}
	if depth == 0 {
		return g.action()
	}
	switch g.Intn(12) {
	case 0, 1:
		pipe := "if " + g.declaring(g.pipeline(2))
		body, otherwise := g.list(depth-1), ""
		switch g.Intn(4) {
		case 0:
			otherwise = "<<else>>" + g.list(depth-1)
		case 1:
			otherwise = "<<else if " + g.pipeline(1) + ">>" + g.list(depth-1) + "<<else>>" + g.list(depth-1)
		}
		return block(pipe, body, otherwise)
	case 2:
		pipe := "with " + g.declaring(g.pipeline(1))
		body, otherwise := g.list(depth-1), ""
		switch g.Intn(4) {
		case 0:
			otherwise = "<<else>>" + g.list(depth-1)
		case 1:
			otherwise = "<<else with " + g.pipeline(1) + ">>" + g.list(depth-1)
		}
		return block(pipe, body, otherwise)
	case 3, 4:
		over := g.pick(".GroupBySlice", "$.GroupBySlice", ".LabelValuesByName", "$.LabelValuesByName", "3", "len .GroupBy", g.pipeline(1))
		declaration := ""
		switch g.Intn(4) {
		case 0:
			declaration = "$e := "
			g.variables = append(g.variables, "$e")
		case 1:
			declaration = "$i, $e := "
			g.variables = append(g.variables, "$i", "$e")
		case 2:
			if len(g.variables) > 0 && g.Intn(2) == 0 {
				declaration = g.pick(g.variables...) + " = "
			}
		}
		g.ranges++
		body := g.list(depth - 1)
		g.ranges--
		otherwise := ""
		if g.Intn(3) == 0 {
			otherwise = "<<else>>" + g.list(depth-1)
		}
		return block("range "+declaration+over, body, otherwise)
	case 5:
		if g.ranges > 0 {
			return "<<if " + g.pipeline(1) + ">><<" + g.pick("break", "continue") + ">><<end>>"
		}
		outside := g.variables
		ranges := g.ranges
		argument := g.pipeline(1)
		g.variables, g.ranges = nil, 0
		body := g.list(depth - 1)
		g.variables, g.ranges = outside, ranges
		return fmt.Sprintf("<<block %q %s>>%s<<end>>", fmt.Sprint("b", g.Intn(1000)), argument, body)
	default:
		return g.action()
	}
}

func (g *generator) action() string {
	switch g.Intn(10) {
	case 0:
		return g.pick(" ", "\n", "a > b ", "sum(", "} by (", "\t x", "é", "-", "<", ">>", "/* */")
	case 1:
		return g.open() + "/* c >> " + g.pick("", "*", "\n") + "*/" + g.pick(">>", " ->>")
	case 2:
		return g.open() + g.declaring(g.pipeline(2)) + g.close()
	case 3:
		if len(g.variables) > 0 {
			return g.open() + g.pick(g.variables...) + " = " + g.pipeline(1) + g.close()
		}
	}
	return g.open() + g.pipeline(2) + g.close()
}

func (g *generator) declaring(pipe string) string {
	if g.Intn(4) > 0 {
		return pipe
	}
	name := g.pick("$x", "$y", "$é1", "$_")
	g.variables = append(g.variables, name)
	return name + g.pick(" := ", ":= ", " :=") + pipe
}

func (g *generator) pipeline(depth int) string {
	text := g.command(depth)
	for g.Intn(4) == 0 {
		text += g.pick(" | ", "|", " |") + g.pick("print", "println", "html", "js", "urlquery", "len", "not", "printf "+g.format(), "eq 1", `eq "pod"`, "and true", "or false", "index .GroupBySlice", `printf "%s-%v" "a"`, "print "+g.operand(0), "slice")
	}
	return text
}

func (g *generator) command(depth int) string {
	if depth == 0 || g.Intn(4) == 0 {
		return g.operand(depth)
	}
	a := func() string { return g.operand(depth - 1) }
	text := func() string {
		return g.pick(".Series", ".GroupBy", ".LabelMatchers", "$.Series", `"pod"`, "`a\\b`", "(print 1 2)", `(index .LabelValuesByName "pod")`, a())
	}
	number := func() string {
		return g.pick("0", "1", "2", "3", "-1", "'a'", "0x10", "(len .Series)", "1.5", a())
	}
	switch g.Intn(16) {
	case 0:
		return "index .LabelValuesByName " + g.pick(`"pod"`, `"nosuch"`, `"namespace"`, text())
	case 1:
		return "index .GroupBySlice " + number()
	case 2:
		return "index " + text() + " " + number()
	case 3:
		return "slice " + g.pick(text(), ".GroupBySlice", "$.GroupBySlice") + strings.Repeat(" "+number(), g.Intn(4))
	case 4:
		return "len " + g.pick(text(), ".GroupBySlice", ".LabelValuesByName", a())
	case 5, 6:
		return g.pick("eq", "ne", "lt", "le", "gt", "ge") + " " + g.pick(text()+" "+text(), number()+" "+number(), a()+" "+a())
	case 7:
		return g.pick("and", "or") + " " + a() + " " + a() + g.pick("", " "+a())
	case 8:
		return "not " + a()
	case 9, 10, 11:
		arguments := ""
		for range g.Intn(4) {
			arguments += " " + g.pick(a(), text(), number())
		}
		return "printf " + g.format() + arguments
	case 12, 13:
		arguments := ""
		for range g.Intn(4) {
			arguments += " " + a()
		}
		return g.pick("print", "println", "html", "js", "urlquery") + arguments
	case 14:
		return "eq " + a() + " " + a() + " " + a()
	default:
		return g.pick("call", "len", "index", "slice", "not", "printf") + g.pick("", " "+a())
	}
}

func (g *generator) operand(depth int) string {
	if depth > 0 && g.Intn(3) == 0 {
		return "(" + g.declaring(g.pipeline(depth-1)) + ")" + g.pick("", "", "", ".Series", ".x")
	}
	switch g.Intn(16) {
	case 0, 1, 9, 10, 11:
		return g.pick(".Series", ".LabelMatchers", ".GroupBy", ".GroupBySlice", ".LabelValuesByName")
	case 2, 12, 13:
		return g.pick("$.Series", "$.GroupBySlice", "$.LabelValuesByName.pod", ".LabelValuesByName.nosuch", ".LabelValuesByName.namespace", ".LabelValuesByName.nosuch.more")
	case 3:
		if len(g.variables) > 0 {
			return g.pick(g.variables...) + g.pick("", "", "", ".Series")
		}
		return "."
	case 4, 5:
		return g.literal()
	case 6:
		return g.pick("true", "false", "nil", ".", "$", "print", "println")
	case 7:
		if g.Intn(4) > 0 {
			return g.pick(`"a|b"`, "2", "1.5", "true", "'x'", "`q`")
		}
		return g.pick(".Serie", ".groupBy", "$.Nosuch", ".LabelValuesByName.pod.x", ".Series.x")
	default:
		return g.literal()
	}
}

func (g *generator) literal() string {
	digits := func(set string) string {
		var b strings.Builder
		for range 1 + g.Intn(4) {
			b.WriteByte(set[g.Intn(len(set))])
		}
		return b.String()
	}
	if g.Intn(2) == 0 {
		return g.pick("0", "1", "-7", "0x2a", "1_000", "2.5", "1e3", "3i", "'c'", `"pod"`, `"x y"`, "`raw`", `"é\n"`)
	}
	switch g.Intn(10) {
	case 0:
		return g.pick("", "-", "+") + digits("0123456789_")
	case 1:
		return g.pick("", "-", "+") + g.pick("0x", "0X", "0b", "0o", "0") + digits(g.pick("01", "01234567_", "089afAF_"))
	case 2:
		return g.pick("", "-") + digits("0123456789") + g.pick(".", "e", "E-", "e+", ".5e", "p", "i", "_.") + digits("0123456789")
	case 3:
		return g.pick("", "-", "+") + g.pick("0x1.8p", "0x.4p-", "0X1p+", "0x1fP") + digits("0123456789")
	case 4:
		return g.pick("1", "1.5", "0x1p2", "-2") + g.pick("+", "-") + digits("0123456789.") + g.pick("i", "i", "")
	case 5:
		return "'" + g.pick("a", "é", `\n`, `\'`, `\"`, `"`, `\x41`, `\101`, `\u00e9`, `\U0001F600`, `\400`, `\ud800`, "ab", "", `\`, "\n") + "'"
	case 6:
		return "`" + g.pick("", "a", `\n`, "\r\n", `"`, ">>", "é") + "`"
	default:
		var b strings.Builder
		for range g.Intn(4) {
			b.WriteString(g.pick("a", "pod", "|", "é", " ", ">>", "<<", "'", "&<>", "%s", `\n`, `\t`, `\"`, `\\`, `\x00`, `\xff`, `\u2028`, `\101`, `\a`, `\'`, `\q`, `\u12`))
		}
		return `"` + b.String() + `"`
	}
}

func (g *generator) format() string {
	var b strings.Builder
	for range 1 + g.Intn(3) {
		b.WriteString(g.pick("", "a", " ", "é", "%%"))
		b.WriteByte('%')
		for g.Intn(3) == 0 {
			b.WriteString(g.pick("+", "-", "#", "0", " "))
		}
		b.WriteString(g.pick("", "", "", "[1]", "[2]", "[3]", "[0]", "[x]", "["))
		b.WriteString(g.pick("", "", "", "5", "12", "*", "[2]*"))
		b.WriteString(g.pick("", "", "", ".", ".0", ".2", ".20", ".*", ".[1]*"))
		b.WriteString(g.pick("v", "v", "s", "s", "q", "d", "d", "x", "X", "o", "O", "b", "c", "U", "e", "E", "f", "F", "g", "G", "t", "T", "w", "z", "é", "%", ""))
	}
	return `"` + b.String() + `"`
}

// A template with something taken away, doubled, moved or put in.
func (g *generator) broken(text string) string {
	cut := func(limit int) (int, int) {
		start := g.Intn(len(text) + 1)
		return start, min(len(text), start+g.Intn(limit))
	}
	switch g.Intn(6) {
	case 0:
		start, end := cut(4)
		text = text[:start] + text[end:]
	case 1:
		start, end := cut(12)
		text = text[:end] + text[start:]
	case 2:
		start, _ := cut(1)
		text = text[:start] + g.pick("<<", ">>", "<<end>>", "<<else>>", "<<break>>", "<<continue>>", "(", ")", "|", ":=", "=", ",", "$", ".", "\"", "`", "'", " ", "-", "<<- ", " ->>", "/*", "*/", "nil", "<<define \"x\">>", "<<template \"x\">>", "<<if .>>", "<<range .>>", "<<with .>>", "<<else if .>>", "<<else with .>>", "\n", "é", "upper ", "0", "i", "\\") + text[start:]
	case 3:
		for _, word := range []string{"<<end>>", ">>", "<<", "<<else>>", ")", "("} {
			if places := strings.Count(text, word); places > 0 && g.Intn(2) == 0 {
				return strings.Replace(text, word, g.pick("", word+word, "<<else>>", "<<end>>"), 1+g.Intn(places))
			}
		}
	default:
		start, end := cut(8)
		text = text[:start] + g.pick("", "end", "x", " ") + text[end:]
	}
	return strings.ToValidUTF8(text, "?")
}
