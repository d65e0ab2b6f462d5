-- The five tables of nycflights13 as published, with the keys and references that the data has.
-- Of the flights, `dest` and `tailnum` name airports and planes that the other tables lack, and some
-- have no weather: no foreign keys there.

CREATE TABLE public.airlines (
    carrier text PRIMARY KEY,
    name text NOT NULL
);

CREATE TABLE public.airports (
    faa text PRIMARY KEY,
    name text NOT NULL,
    lat double precision NOT NULL,
    lon double precision NOT NULL,
    alt integer NOT NULL,
    tz integer NOT NULL,
    dst text NOT NULL,
    tzone text
);

CREATE TABLE public.planes (
    tailnum text PRIMARY KEY,
    year integer,
    type text NOT NULL,
    manufacturer text NOT NULL,
    model text NOT NULL,
    engines integer NOT NULL,
    seats integer NOT NULL,
    speed integer,
    engine text NOT NULL
);

CREATE TABLE public.weather (
    origin text NOT NULL REFERENCES public.airports,
    year integer NOT NULL,
    month integer NOT NULL,
    day integer NOT NULL,
    hour integer NOT NULL,
    temp double precision,
    dewp double precision,
    humid double precision,
    wind_dir integer,
    wind_speed double precision,
    wind_gust double precision,
    precip double precision NOT NULL,
    pressure double precision,
    visib double precision NOT NULL,
    time_hour timestamptz NOT NULL,
    -- The local hour names three observations twice: the one in which the clocks went back.
    PRIMARY KEY (origin, time_hour)
);

CREATE TABLE public.flights (
    year integer NOT NULL,
    month integer NOT NULL,
    day integer NOT NULL,
    dep_time integer,
    sched_dep_time integer NOT NULL,
    dep_delay integer,
    arr_time integer,
    sched_arr_time integer NOT NULL,
    arr_delay integer,
    carrier text NOT NULL REFERENCES public.airlines,
    flight integer NOT NULL,
    tailnum text,
    origin text NOT NULL REFERENCES public.airports,
    dest text NOT NULL,
    air_time integer,
    distance integer NOT NULL,
    hour integer NOT NULL,
    minute integer NOT NULL,
    time_hour timestamptz NOT NULL,
    -- Without the origin, 24 keys name two flights each: one number, two legs on a day.
    PRIMARY KEY (year, month, day, carrier, flight, origin)
);

CREATE INDEX flights_carrier ON public.flights (carrier);
CREATE INDEX flights_tailnum ON public.flights (tailnum);

-- Not of the data: what counters are shown with.
CREATE TABLE public.bookings (
    carrier text PRIMARY KEY REFERENCES public.airlines,
    seats bigint NOT NULL
);
