"""Every family of PostgreSQL's types, and the values in which it is odd. (What a version refuses is left out.)"""

SCHEMA = """
    CREATE SCHEMA other;
    CREATE TYPE other.mood AS ENUM ('sad', 'it''s', 'a,"b');
    CREATE TYPE other."comp ""1" AS (a int, "b c" text, r regclass);
    CREATE TYPE other.within AS (one other."comp ""1", many int[]);
    CREATE DOMAIN other.flag AS boolean;
    CREATE DOMAIN other.padded AS char(5);
    CREATE DOMAIN other.several AS int[];
    CREATE DOMAIN other.compound AS other."comp ""1";
    CREATE TYPE other.reals AS RANGE (subtype = float8);
    CREATE TABLE other."Ta ble" (a int);
    CREATE FUNCTION other.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
"""

CONTROLS = "".join(map(chr, range(1, 128)))
TEXTS = [
    "",
    "plain",
    " ",
    "it's",
    "''",
    "\\",
    "\\.",
    "a\n\\.\nb",
    "\\N",
    "NULL",
    CONTROLS,
    "é€😀",
    ":name :'x' $1 %s %% %b",
]
TEXTS += ["-- a comment\n", "/* ", "$$", "\r\n", "\t", "x" * 300, "BEGIN;\nCOMMIT;\n\\q\n"]
STAMPS = ["infinity", "-infinity", "4713-01-01 00:00:00 BC", "0044-03-15 12:00:00.5 BC", "294276-12-31 23:59:59.999999"]
STAMPS += ["2000-02-29 00:00:00", "0001-01-01 00:00:00", "1999-12-31 23:59:60"]
COMPOSITES = ['(1,"a b",pg_class)', "(,,)", '(2,"",pg_type)', '(3,"q""uo\\\\te",other."Ta ble")', '(4,"(,)",0)']
FLOATS = ["NaN", "-0", "0", "Infinity", "-Infinity", "0.1", "1e-37", "-1.5"]

# Types that can be a key come first; the values of a key differ in the eyes of its index.
KEYS: dict[str, list[str]] = {
    "boolean": ["t", "f"],
    "smallint": ["-32768", "32767", "0"],
    "integer": ["-2147483648", "2147483647", "0"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "0"],
    "numeric": ["NaN", "Infinity", "-Infinity", "1.0", "-0.5", "1" + "0" * 1000, "1e-1000", "9" * 900 + ".9"],
    "numeric(10,3)": ["1", "1.0005", "-9999999.999"],
    "double precision": ["NaN", "-0", "Infinity", "5e-324", "1.7976931348623157e308", "0.1", "0.30000000000000004"],
    "real": ["NaN", "-0", "-Infinity", "1e-45", "3.4028235e38", "0.1"],
    "money": ["-92233720368547758.08", "0.01", "1234.56"],
    "char(5)": ["", "a", "ab cd", "é"],
    "varchar(400)": TEXTS,
    "text": TEXTS,
    "name": ["", "a b", "it's", 'é"x'],
    '"char"': ["", "a", "'", "\\"],
    "bytea": ["", "\\x00", "\\x" + bytes(range(256)).hex(), "\\x5c2e0a"],
    "bit(5)": ["10101", "00000"],
    "bit varying": ["", "1", "10101010101"],
    "date": ["infinity", "-infinity", "4713-01-01 BC", "0044-03-15 BC", "5874897-12-31", "2000-02-29", "0001-01-01"],
    "time": ["00:00:00", "24:00:00", "23:59:59.999999"],
    "time with time zone": ["00:00:00+15:59", "24:00:00-15:59:59", "12:00:00.000001Z"],
    "timestamp": STAMPS,
    "timestamp with time zone": STAMPS,
    "timestamp(0)": ["2000-01-01 00:00:00.6"],
    "interval": [
        "0",
        "1 mon",
        "-1 year 2 mons -3 days 04:05:06.789",
        "178000000 years",
        "-1 day +24:00:01",
        "infinity",
    ],
    "inet": ["1.2.3.4", "1.2.3.4/24", "::1", "::1/64", "0.0.0.0/0"],
    "cidr": ["10.0.0.0/8", "1.2.3.4", "::/0"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "pg_lsn": ["0/0", "FFFFFFFF/FFFFFFFF"],
    "oid": ["0", "4294967295"],
    "tid": ["(0,1)", "(4294967295,65535)"],
    "xid8": ["0", "18446744073709551615"],
    "oidvector": ["", "1 2 3"],
    "regclass": ["pg_class", 'other."Ta ble"', "0", "4000000000"],
    "regtype": ["integer", "other.mood", 'other."comp ""1"[]'],
    "jsonb": ["null", "1.0", '"\\u00e9 \\n"', '{"a": [1, 2.50, null], "": {}}', "[]"],
    "tsvector": ["", "'a':1A,2 'b c' 'it''s' '\\\\'"],
    "tsquery": ["", "'a' & !'b c' <2> 'd':*AB"],
    "int[]": ["{}", "{1,NULL,3}", "[2:3][-1:0]={{1,2},{3,NULL}}"],
    "text[]": ["{}", '{"a\\"b",NULL,"NULL",""," ","\\\\","it\'s","a\nb"}'],
    "regclass[]": ["{}", '{pg_class,"other.\\"Ta ble\\""}'],
    "int4range": ["empty", "[1,5)", "(,)", "[1,)"],
    "numrange": ["empty", "[1.0,2.00)", "(,NaN]"],
    "tstzrange": ["[-infinity,infinity]", "[2000-01-01 00:00:00+00,)"],
    "int4multirange": ["{}", "{[1,2),[5,)}"],
    "other.mood": ["sad", "it's", 'a,"b'],
    "other.mood[]": ["{}", '{sad,it\'s,"a,\\"b"}'],
    "other.flag": ["t", "f"],
    "other.padded": ["a", "ab cd"],
    "other.several": ["{}", "{1,2}"],
    'other."comp ""1"': COMPOSITES,
    'other."comp ""1"[]': ["{}", '{"(1,\\"a b\\",pg_class)",NULL}'],
    "other.compound": COMPOSITES,
    "other.within": ['("(1,""a b"",pg_class)","{1,2}")', "(,)"],
    "other.reals": ["empty", "[-0,NaN]", "(0.1,)"],
}
OTHERS: dict[str, list[str]] = {
    "numeric": ["1.00", "1.0", "1", "-0.0"],
    "double precision": FLOATS,
    "interval": ["1 mon", "30 days", "720:00:00"],
    "json": ["{}", ' {"a" :  1, "a":2}\n', "null", '"\\u0000"'],
    "jsonpath": ["$", '$."a"[*] ? (@ > 1 && @ like_regex "^x")'],
    "xml": ["<a>b</a>", "text only", '<?xml version="1.0"?><a b="\'"/>'],
    "point": ["(NaN,-0)", "(0,0)", "(1e300,-Infinity)"],
    "line": ["{1,2,3}", "{-1,0,NaN}"],
    "lseg": ["[(0,0),(1,NaN)]"],
    "box": ["(1,1),(0,0)"],
    "path": ["[(0,0),(1,1)]", "((0,0),(1,-0))"],
    "polygon": ["((0,0),(1,1),(1,0))"],
    "circle": ["<(0,0),NaN>", "<(0,0),1.5>"],
    "box[]": ["{(1,1),(0,0);(2,2),(1,1)}"],
    "txid_snapshot": ["10:20:10,14,15", "1:1:"],
    "pg_snapshot": ["10:20:10,14,15"],
    "xid": ["4294967295"],
    "cid": ["7"],
    "int2vector": ["", "1 2"],
    "aclitem[]": ["{pgkeep=arw/pgkeep,=r/pgkeep}"],
    "refcursor": ["it's"],
    "regproc": ["now", "other.f"],
    "regprocedure": ["other.f(integer)", "-"],
    "regoper": ["0", "pg_catalog.||/"],
    "regoperator": ["+(integer,integer)", "0"],
    "regnamespace": ["other", "-"],
    "regrole": ["pgkeep", "-"],
    "regcollation": ['"C"'],
    "regconfig": ["english"],
    "regdictionary": ["simple"],
    "varchar[]": ["{NULL}"],
    "timestamp[]": ["{infinity,NULL}"],
    "pg_catalog.pg_type[]": ["{}"],
}
